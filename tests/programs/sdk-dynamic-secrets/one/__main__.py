"""Five resources, each with another kind of secret."""

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

secret = pulumi.Output.secret("hush")


class Default(ResourceProvider):
    """Serialized as a secret."""

    def create(self, props):
        return CreateResult("id", {**props, "copy": props.get("password"), "fixed": 1})


class Open(Default):
    """Serialized in plain text."""

    serialize_as_secret_always = False


class Capturing(Open):
    """Captures a secret output."""

    def __init__(self):
        super().__init__()
        self.password = secret

    def create(self, props):
        return CreateResult("id", {"length": len(self.password.get())})


class Thing(Resource):
    """Outputs."""

    password: pulumi.Output[str]
    copy: pulumi.Output[str]
    fixed: pulumi.Output[int]


made = Thing(Default(), "default", {"password": secret, "copy": None, "fixed": None})
Thing(Open(), "open", {"password": secret})
Thing(Open(), "extra", {"copy": None}, pulumi.ResourceOptions(additional_secret_outputs=["copy", "fixed"]))
Thing(Default(), "nested", {"options": {"deep": [secret, "open"], "open": 1}})
Thing(Capturing(), "capturing", {"length": None})
pulumi.export("password", made.password)
pulumi.export("copy", made.copy)
pulumi.export("fixed", made.fixed)

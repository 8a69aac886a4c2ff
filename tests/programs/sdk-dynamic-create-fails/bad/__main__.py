"""One new resource fails; another depends on it."""

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Fine(ResourceProvider):
    """Works."""

    def create(self, props):
        return CreateResult(props["name"], props)


class Failing(ResourceProvider):
    """Does not."""

    def create(self, props):
        raise OSError("no room")


class Thing(Resource):
    """Any."""


one = Thing(Fine(), "one", {"name": "one"})
two = Thing(Fine(), "two", {"name": "two"}, pulumi.ResourceOptions(depends_on=[one]))
bad = Thing(Failing(), "bad", {}, pulumi.ResourceOptions(depends_on=[two]))
Thing(Fine(), "after", {"name": "after"}, pulumi.ResourceOptions(depends_on=[bad]))
pulumi.export("run", "bad")
pulumi.export("two", two.id)
pulumi.export("bad", bad.id)

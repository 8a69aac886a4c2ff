"""Two resources that work."""

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Fine(ResourceProvider):
    """Works."""

    def create(self, props):
        return CreateResult(props["name"], props)


class Thing(Resource):
    """Any."""


one = Thing(Fine(), "one", {"name": "one"})
two = Thing(Fine(), "two", {"name": "two"}, pulumi.ResourceOptions(depends_on=[one]))
pulumi.export("run", "good")
pulumi.export("two", two.id)

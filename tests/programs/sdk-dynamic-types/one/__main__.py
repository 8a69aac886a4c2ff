"""A type of its own."""

from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Makes(ResourceProvider):
    """Makes."""

    def create(self, props):
        return CreateResult("id-1", {})


class Plain(Resource):
    """The type without a name."""


class Named(Resource, module="mod/sub", name="Name"):
    """A module and a name."""


class NameOnly(Resource, name="Only"):
    """A name."""


Plain(Makes(), "plain", {})
Named(Makes(), "named", {})
NameOnly(Makes(), "only", {})

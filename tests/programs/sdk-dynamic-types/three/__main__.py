"""A new name without an alias is another resource."""

from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Makes(ResourceProvider):
    """Makes."""

    def create(self, props):
        return CreateResult("id-3", {})


class Named(Resource, module="mod", name="Again"):
    """A new name."""


Named(Makes(), "named", {})

"""One type has a new name and says the old one."""

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Makes(ResourceProvider):
    """Makes."""

    def create(self, props):
        return CreateResult("id-2", {})


class Named(Resource, module="mod", name="Renamed"):
    """A new name."""


was = pulumi.Alias(type_="pulumi-python:dynamic/mod/sub:Name")
Named(Makes(), "named", {}, pulumi.ResourceOptions(aliases=[was]))

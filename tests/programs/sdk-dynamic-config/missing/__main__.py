"""Requires a key that is not set."""

from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Strict(ResourceProvider):
    """Requires."""

    def configure(self, req):
        self.needed = req.config.require("needed")

    def create(self, props):
        return CreateResult("id", {})


class Thing(Resource):
    """Made by Strict."""


Thing(Strict(), "strict", {})

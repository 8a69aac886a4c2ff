"""Another input."""

from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Least(ResourceProvider):
    """Makes."""

    def create(self, props):
        return CreateResult("the-id", {"made": props["a"], "a": props["a"]})


class Thing(Resource):
    """Made by Least."""


Thing(Least(), "least", {"a": 2, "made": None})

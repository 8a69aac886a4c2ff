"""Three resources that read themselves in other ways."""

from pulumi.dynamic import CreateResult, ReadResult, Resource, ResourceProvider


class Echo(ResourceProvider):
    """The read answers as it was."""

    def create(self, props):
        return CreateResult("echo", {"size": props["size"]})


class Outputs(Echo):
    """The read finds another size."""

    def read(self, id_, props):
        return ReadResult(id_, {**props, "size": 9})


class Inputs(Echo):
    """The read finds another size and says the inputs."""

    def read(self, id_, props):
        return ReadResult(id_, {**props, "size": 9}, {"size": 9})


class Gone(Echo):
    """The read finds nothing."""

    def read(self, id_, props):
        return ReadResult("", {})


class Thing(Resource):
    """Any."""


for kind in (Echo, Outputs, Inputs, Gone):
    Thing(kind(), kind.__name__.lower(), {"size": 1})

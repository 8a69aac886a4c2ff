"""Puts config into outputs."""

import pulumi
from pulumi.dynamic import (
    ConfigureRequest,
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)


class Configured(ResourceProvider):
    """Keeps what configure was given."""

    def configure(self, req: ConfigureRequest):
        self.colour = req.config.require("colour")
        self.token = req.config.get("token")
        self.other = req.config.get("shop:size")

    def create(self, props):
        return CreateResult("id", self.now())

    def diff(self, id, olds, news):
        return DiffResult(changes=olds["colour"] != self.colour)

    def update(self, id, olds, news):
        return UpdateResult(self.now())

    def now(self):
        return {"colour": self.colour, "length": len(self.token), "size": self.other}


class Thing(Resource):
    """Its colour."""

    colour: pulumi.Output[str]


made = Thing(Configured(), "configured", {"colour": None, "length": None, "size": None})
pulumi.export("colour", made.colour)

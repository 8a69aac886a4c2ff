"""Typed inputs of a dynamic resource and of a stash."""

from enum import Enum, StrEnum

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class Colour(StrEnum):
    """A named text."""

    RED = "red"
    BLUE = "blue"


class Step(float, Enum):
    """A named number."""

    HALF = 0.5


@pulumi.input_type
class SizeArgs:
    """An input class with names in both spellings."""

    def __init__(self, *, wide_mm, colour=None):
        pulumi.set(self, "wide_mm", wide_mm)
        if colour is not None:
            pulumi.set(self, "colour", colour)

    @property
    @pulumi.getter(name="wideMm")
    def wide_mm(self) -> pulumi.Input[int]:
        """Its width."""
        return pulumi.get(self, "wide_mm")

    @property
    @pulumi.getter
    def colour(self) -> pulumi.Input[Colour] | None:
        """Its colour."""
        return pulumi.get(self, "colour")


@pulumi.output_type
class Size(dict):
    """An output class."""

    def __init__(self, *, wide_mm: int, colour: str | None = None):
        pulumi.set(self, "wide_mm", wide_mm)
        if colour is not None:
            pulumi.set(self, "colour", colour)

    @property
    @pulumi.getter(name="wideMm")
    def wide_mm(self) -> int:
        """Its width."""
        return pulumi.get(self, "wide_mm")

    @property
    @pulumi.getter
    def colour(self) -> str | None:
        """Its colour."""
        return pulumi.get(self, "colour")


class Echo(ResourceProvider):
    """Gives back what it was given."""

    def create(self, props):
        return CreateResult("echo", props)


class Typed(Resource):
    """Outputs with types."""

    size: pulumi.Output[Size]
    colours: pulumi.Output[list[Colour]]
    step: pulumi.Output[Step]


typed = Typed(
    Echo(),
    "typed",
    {
        "size": SizeArgs(wide_mm=pulumi.Output.from_input(3), colour=Colour.BLUE),
        "colours": [Colour.RED, "blue"],
        "step": Step.HALF,
    },
)
pulumi.Stash("plain", input={"size": SizeArgs(wide_mm=4), "colour": Colour.RED, "number": Step.HALF})
pulumi.export("width", typed.size.apply(lambda size: size.wide_mm))
pulumi.export("size", typed.size)
pulumi.export("step", typed.step)
pulumi.export("colours", typed.colours)

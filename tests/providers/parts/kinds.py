"""Components whose schema is read from their annotations."""

from enum import Enum
from typing import Any, TypedDict

import pulumi


class Grade(Enum):
    """How good it is."""

    FINE = "fine"
    ROUGH = "rough"


class Size(TypedDict):
    """A nested input and output."""

    wide_mm: pulumi.Input[int]
    high_mm: pulumi.Input[int] | None


class PartArgs(TypedDict):
    """Inputs of every shape."""

    label: pulumi.Input[str]
    count: int | None
    grade: Grade | None
    size: pulumi.Input[Size] | None
    tags: pulumi.Input[dict[str, pulumi.Input[str]]] | None
    holes: pulumi.Input[list[pulumi.Input[int]]] | None
    anything: pulumi.Input[Any] | None


class Part(pulumi.ComponentResource):
    """Keeps its inputs in a stash."""

    label: pulumi.Output[str]
    stored: pulumi.Output[Any]
    doubled: pulumi.Output[int]
    size: pulumi.Output[Size]

    def __init__(self, name: str, args: PartArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("parts:index:Part", name, {}, opts)
        given = {key: value.value if isinstance(value, Grade) else value for key, value in args.items()}
        stash = pulumi.Stash(f"{name}-stash", input=given, opts=pulumi.ResourceOptions(parent=self))
        self.label = pulumi.Output.from_input(args["label"])
        self.stored = stash.input
        self.doubled = pulumi.Output.from_input(args.get("count") or 1).apply(lambda count: count * 2)
        self.size = pulumi.Output.from_input(args.get("size") or {"wide_mm": 1, "high_mm": 2})
        self.register_outputs({"label": self.label, "doubled": self.doubled})


class AssemblyArgs(TypedDict):
    """How many parts."""

    parts: pulumi.Input[int]
    names: list[str]


class Assembly(pulumi.ComponentResource):
    """Parts in a component of its own, made in the same process."""

    last: pulumi.Output[str]

    def __init__(self, name: str, args: AssemblyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("parts:index:Assembly", name, {}, opts)
        before: list[pulumi.Resource] = []
        self.last = pulumi.Output.from_input("none")
        for part in args["names"]:
            options = pulumi.ResourceOptions(parent=self, depends_on=before)
            made = Part(f"{name}-{part}", {"label": part, "holes": [args["parts"]]}, options)
            before = [made]
            self.last = made.label
        self.register_outputs({"last": self.last})


class BrokenArgs(TypedDict):
    """Why it breaks."""

    reason: str


class Broken(pulumi.ComponentResource):
    """Raises in its constructor before it registers anything."""

    def __init__(self, name: str, args: BrokenArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        raise ValueError(f"{name} is broken: {args['reason']}")

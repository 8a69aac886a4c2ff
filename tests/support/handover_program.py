"""The programs that the hand-over tests give from one engine to the other.

Owns: their text. Promises: ids and outputs depend on config only. Never: runs.
"""

from __future__ import annotations

# Dynamic resources, a component, a dependency, a secret input and a secret output; `label` is the change.
BOXES = """
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class Boxes(ResourceProvider):
    def create(self, props):
        size = len(props["label"])
        return CreateResult(f"box-{size}", {"label": props["label"], "size": size})

    def diff(self, id_, old, new):
        return DiffResult(changes=old["label"] != new["label"])

    def update(self, id_, old, new):
        return UpdateResult({"label": new["label"], "size": len(new["label"])})


class Box(Resource):
    label: pulumi.Output[str]
    size: pulumi.Output[int]

    def __init__(self, name, label, opts=None):
        super().__init__(Boxes(), name, {"label": label, "size": None}, opts)


config = pulumi.Config()
first = Box("first", config.get("label") or "plain")
second = Box("second", config.require_secret("token"), pulumi.ResourceOptions(depends_on=[first]))
group = pulumi.ComponentResource("demo:index:Group", "group")
third = Box("third", first.label.apply(lambda text: f"{text}!"), pulumi.ResourceOptions(parent=group))
pulumi.export("size", third.size)
pulumi.export("token", second.label)
"""

# Says that it runs, then waits until it is let go.
WAITS = """
import pathlib
import time

import pulumi

folder = pathlib.Path(pulumi.Config().require("folder"))
(folder / "runs").touch()
while not (folder / "go").exists():
    time.sleep(0.05)
pulumi.export("done", True)
"""

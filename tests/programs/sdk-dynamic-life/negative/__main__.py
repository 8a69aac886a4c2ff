"""A dynamic resource with its whole life."""

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)


class Boxes(ResourceProvider):
    """size may not be negative; another colour is another box."""

    def check(self, olds, news):
        failures = [CheckFailure("size", "negative")] if news.get("size", 0) < 0 else []
        return CheckResult(
            {**news, "checked": True, "had": sorted(key for key in olds if key[0] != "_")}, failures
        )

    def diff(self, id, olds, news):
        replaces = ["colour"] if olds["colour"] != news["colour"] else []
        changed = bool(replaces) or olds["size"] != news["size"]
        return DiffResult(changes=changed, replaces=replaces, delete_before_replace=news.get("first", False))

    def create(self, props):
        return CreateResult(f"box-{props['colour']}", {**props, "volume": props["size"] ** 3})

    def update(self, id, olds, news):
        return UpdateResult({**news, "volume": news["size"] ** 3, "grown": news["size"] - olds["size"]})

    def read(self, id, props):
        return ReadResult(id, {**props, "seen": True})

    def delete(self, id, props):
        if props["colour"] == "sticky":
            raise RuntimeError(f"{id} cannot be deleted")


class Box(Resource):
    """A box."""

    volume: pulumi.Output[int]

    def __init__(self, name, opts=None, **props):
        super().__init__(Boxes(), name, {**props, "volume": None}, opts)


box = Box("box", size=-1, colour="green", first=True)
pulumi.Stash("user", input=box.volume)

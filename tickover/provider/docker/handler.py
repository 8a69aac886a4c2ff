"""What all docker resource types have in common: check, diff and the preview's outputs.

Owns: the verbs that need no engine, and the names of those that do. Promises: what the plugin replaces for
is replaced for here; a change of order alone in an unordered list is no change. Never: knows one type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tickover.engine.provider import (
    CheckRequest,
    CheckResult,
    CreateRequest,
    CreateResult,
    DeleteRequest,
    DiffRequest,
    DiffResult,
    ReadRequest,
    ReadResult,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import UNKNOWN, PropertyMap, contains_unknown, reveal
from tickover.errors import TickoverError
from tickover.provider.docker import fields
from tickover.provider.docker.fields import Resource
from tickover.provider.docker.run import Run
from tickover.provider.shape import detailed_diff, same, touches


class Handler:
    """The verbs of one type. computed: outputs that only Docker knows; fixed: those of them that an update
    leaves as they are. replaces_first: the old object goes before the new one comes."""

    resource: ClassVar[Resource]
    noun: ClassVar[str]
    computed: ClassVar[tuple[str, ...]] = ()
    fixed: ClassVar[tuple[str, ...]] = ()
    replaces_first: ClassVar[bool] = False

    # -- pure -----------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        return self.resource.token

    def describe(self, inputs: Mapping[str, Any], id: str = "") -> str:
        """For messages: ``container web``."""
        name = reveal(inputs.get("name"))
        return f"{self.noun} {name if isinstance(name, str) else id}".strip()

    def check(self, request: CheckRequest) -> CheckResult:
        """The inputs with defaults, and everything that is wrong with them."""
        return fields.check(self.resource, request)

    def diff(self, request: DiffRequest) -> DiffResult:
        """What differs between the old and the new inputs, and whether it can be changed in place."""
        known = self.resource.fields
        recorded = request.old_inputs or {k: v for k, v in request.old_outputs.items() if k in known}
        old, new = self._comparable(recorded), self._comparable(request.news)
        for name, kind in known.items():
            unsaid = kind.chosen and new.get(name) is None
            if unsaid or (kind.unordered and _same_set(old.get(name), new.get(name))):
                old[name] = new[name] = None
        replacing = frozenset(n for n in known if self.must_replace(n, old, new, request.old_outputs))
        found = {
            path: change
            for path, change in detailed_diff(old, new, replacing).items()
            if not any(touches(path, ignored) for ignored in request.ignore_changes)
        }
        replaces = sorted({_top(path) for path, change in found.items() if change.kind.is_replace})
        autonamed = "name" in (request.news.get(fields.DEFAULTS) or ())
        first = self.replaces_first or (not autonamed and self.same_name(old, new))
        return DiffResult(
            changes=bool(found),
            replaces=tuple(replaces),
            delete_before_replace=bool(replaces) and first,
            detailed=found,
            stables=() if replaces else self.fixed,
        )

    def _comparable(self, inputs: PropertyMap) -> PropertyMap:
        plain = fields.without_defaults(inputs)
        return fields.with_defaults(self.resource.fields, plain)

    def must_replace(self, name: str, old: PropertyMap, new: PropertyMap, outputs: PropertyMap) -> bool:
        """True if a change of input name needs a new object."""
        return not self.resource.fields[name].in_place

    def same_name(self, old: PropertyMap, new: PropertyMap) -> bool:
        """True if old and new cannot exist side by side."""
        return "name" in old and same(old["name"], new.get("name"))

    def preview(self, news: PropertyMap, old_outputs: PropertyMap | None = None) -> PropertyMap:
        """The outputs that can be told in advance, the others unknown."""
        outputs: PropertyMap = dict.fromkeys((n for n in self.computed if n not in news), UNKNOWN)
        kept = {n: old_outputs[n] for n in self.fixed if n in old_outputs} if old_outputs else {}
        return {**fields.without_defaults(news), **outputs, **kept}

    # -- calls ----------------------------------------------------------------------------------------

    async def create(self, run: Run, request: CreateRequest) -> CreateResult:
        raise NotImplementedError

    async def read(self, run: Run, request: ReadRequest) -> ReadResult:
        raise NotImplementedError

    async def update(self, run: Run, request: UpdateRequest) -> UpdateResult:
        """Most changes in place are about how tickover treats the object: there is nothing to call."""
        kept = {n: request.old_outputs[n] for n in self.computed if n in request.old_outputs}
        return UpdateResult({**kept, **fields.without_defaults(request.news)})

    async def delete(self, run: Run, request: DeleteRequest) -> None:
        raise NotImplementedError


def gone() -> ReadResult:
    """What a read says when the object is not there."""
    return ReadResult("", {}, {})


def plain(inputs: PropertyMap) -> dict[str, Any]:
    """The inputs as Docker may see them: secrets revealed, bookkeeping left out."""
    revealed: dict[str, Any] = reveal(fields.without_defaults(inputs))
    return revealed


def labels_map(labels: Any) -> dict[str, str]:
    """pulumi-docker's list of label and value as Docker's map."""
    return {item["label"]: item["value"] for item in labels or ()}


def labels_list(labels: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Docker's map of labels as pulumi-docker's list."""
    return [{"label": k, "value": v} for k, v in sorted((labels or {}).items())]


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that say something."""
    return {k: v for k, v in values.items() if v not in (None, "", [], {}) and v is not False}


def name_taken(what: str, detail: str, token: str, id: str) -> TickoverError:
    """The error for a name that another object has."""
    return TickoverError(
        "name-taken",
        "Name is taken",
        f"{detail} Give yours another name, remove the other one, or take it into this stack.",
        what,
        f"tickover import {token} NAME {id}",
    )


def _same_set(old: Any, new: Any) -> bool:
    """True if both lists hold the same things, whatever their order."""
    old, new = reveal(old), reveal(new)
    if not isinstance(old, list) or not isinstance(new, list) or len(old) != len(new):
        return False
    if contains_unknown(new):
        return False
    left = list(new)
    for item in old:
        found = next((n for n, other in enumerate(left) if same(_sorted(item), _sorted(other))), None)
        if found is None:
            return False
        del left[found]
    return True


def _sorted(item: Any) -> Any:
    """An object with its lists of texts in order: aliases inside a network, labels inside a mount."""
    match item:
        case dict():
            return {k: _sorted(v) for k, v in item.items()}
        case list() if all(isinstance(v, str) for v in item):
            return sorted(item)
        case _:
            return item


def _top(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]

"""The plan: what an operation will do, as data that views, cost, policy and apply all read.

Owns: the operations, the step, the plan and its text form. Promises: steps sorted as they were decided
(program order, then deletes in reverse dependency order); `to_text` is stable. Never: decides or acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from tickover.engine.provider import PropertyDiff
from tickover.engine.state import ResourceState
from tickover.engine.urn import is_default_provider


class Op(Enum):
    """Pulumi's step kinds."""

    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    REPLACE = "replace"
    CREATE_REPLACEMENT = "create-replacement"
    DELETE_REPLACED = "delete-replaced"
    READ = "read"
    READ_REPLACEMENT = "read-replacement"
    REFRESH = "refresh"
    DISCARD = "discard"
    DISCARD_REPLACED = "discard-replaced"
    REMOVE_PENDING_REPLACE = "remove-pending-replace"
    IMPORT = "import"
    IMPORT_REPLACEMENT = "import-replacement"


_REPLACING: Final = frozenset({Op.REPLACE, Op.CREATE_REPLACEMENT, Op.READ_REPLACEMENT, Op.IMPORT_REPLACEMENT})
# The end of an old object: of no account beside its replacement, nor where that came in an earlier run.
_LEAVING: Final = frozenset({Op.DELETE_REPLACED, Op.DISCARD_REPLACED})
_COUNTED_AS: Final = {
    Op.REFRESH: Op.SAME,
    Op.CREATE_REPLACEMENT: Op.REPLACE,
    Op.DELETE_REPLACED: Op.REPLACE,
    Op.READ_REPLACEMENT: Op.REPLACE,
    Op.IMPORT_REPLACEMENT: Op.REPLACE,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do to one resource.

    old is None for creates, new is None for deletes. reasons: fixed phrases why (``changed: cpu``,
    ``replace: functionName``). replace_keys: the properties that force a replacement.
    """

    op: Op
    urn: str
    type: str
    name: str
    custom: bool
    parent: str = ""
    old: ResourceState | None = None
    new: ResourceState | None = None
    diff_keys: tuple[str, ...] = ()
    replace_keys: tuple[str, ...] = ()
    detailed: Mapping[str, PropertyDiff] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    source_position: str = ""


def counts_of(steps: Iterable[Step]) -> dict[str, int]:
    """Counts by Pulumi's summary words; a replacement counts once, a resource once, and what the engine
    declares for itself (default providers) and a read that says nothing new not at all."""
    found: dict[str, set[str]] = {}
    steps = tuple(steps)
    replaced = {s.urn for s in steps if s.op in _REPLACING}
    for step in steps:
        if step.op in _LEAVING and (step.op is Op.DELETE_REPLACED) is not (step.urn in replaced):
            continue
        if is_default_provider(step.urn) or (step.op is Op.READ and not _says_news(step)):
            continue
        word = _COUNTED_AS.get(step.op, step.op).value
        found.setdefault(word, set()).add(step.urn)
    changed = {urn for word, urns in found.items() if word != Op.SAME.value for urn in urns}
    found[Op.SAME.value] = found.get(Op.SAME.value, set()) - changed
    return {word: len(urns) for word, urns in found.items() if urns}


def _says_news(step: Step) -> bool:
    return step.old is not None and step.new is not None and step.old.outputs != step.new.outputs


# How much a step does to what is there.
_EFFORT: Final = {
    Op.UPDATE: 1,
    Op.CREATE: 2,
    Op.DELETE: 3,
    Op.REPLACE: 4,
    Op.CREATE_REPLACEMENT: 4,
    Op.DELETE_REPLACED: 4,
}


def surprises(planned: Iterable[Step], done: Iterable[Step]) -> tuple[tuple[str, str], ...]:
    """(URN, sentence) for each resource to which more was done than was shown: what was unknown when the
    plan was made may turn out otherwise, and a program may differ between its runs."""
    shown = _strongest(planned)
    found = []
    for urn, step in sorted(_strongest(done).items()):
        before = shown.get(urn)
        if _EFFORT.get(step.op, 0) > (_EFFORT.get(before.op, 0) if before else 0):
            what = f"was planned as {before.op.value!r}" if before else "was not in the plan"
            found.append((urn, f"this {what}; now that all is known it was {step.op.value!r}"))
    return tuple(found)


def _strongest(steps: Iterable[Step]) -> dict[str, Step]:
    found: dict[str, Step] = {}
    for step in steps:
        if step.urn not in found or _EFFORT.get(step.op, 0) > _EFFORT.get(found[step.urn].op, 0):
            found[step.urn] = step
    return found


@dataclass(frozen=True, slots=True)
class PolicyViolation:
    """level: advisory | mandatory | remediate | disabled."""

    pack: str
    pack_version: str
    policy: str
    level: str
    message: str
    urn: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """stack: ``dev``; project: ``tickover``; outputs: the stack outputs after it (may hold markers).

    old_outputs: the stack outputs before it.
    """

    project: str
    stack: str
    steps: tuple[Step, ...] = ()
    outputs: Mapping[str, object] = field(default_factory=dict)
    old_outputs: Mapping[str, object] = field(default_factory=dict)
    violations: tuple[PolicyViolation, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Counts by Pulumi's summary words: create, update, delete, replace, same, read…

        A replacement counts once, as ``replace``.
        """
        return counts_of(self.steps)

    @property
    def has_changes(self) -> bool:
        """True if a step or a stack output changes."""
        quiet = {Op.SAME, Op.READ, Op.REFRESH}
        return any(s.op not in quiet and not is_default_provider(s.urn) for s in self.steps) or dict(
            self.outputs
        ) != dict(self.old_outputs)

    def to_text(self) -> str:
        """A line a step: ``op urn [reasons]``; what tests compare and --debug prints."""
        lines = [
            f"{s.op.value} {s.urn}" + (f" [{', '.join(s.reasons)}]" if s.reasons else "") for s in self.steps
        ]
        return "\n".join(lines)

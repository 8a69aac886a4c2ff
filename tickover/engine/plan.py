"""The plan: what an operation will do, as data that views, cost, policy and apply all read.

Owns: the operations, the step, the plan and its text form. Promises: steps sorted as they were decided
(program order, then deletes in reverse dependency order); `to_text` is stable. Never: decides or acts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tickover.engine.provider import PropertyDiff
from tickover.engine.state import ResourceState


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
    REMOVE_PENDING_REPLACE = "remove-pending-replace"


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
        halves = {Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED}
        return dict(Counter(s.op.value for s in self.steps if s.op not in halves))

    @property
    def has_changes(self) -> bool:
        """True if a step or a stack output changes."""
        quiet = {Op.SAME, Op.READ, Op.REFRESH}
        return any(s.op not in quiet for s in self.steps) or dict(self.outputs) != dict(self.old_outputs)

    def to_text(self) -> str:
        """A line a step: ``op urn [reasons]``; what tests compare and --debug prints."""
        lines = [
            f"{s.op.value} {s.urn}" + (f" [{', '.join(s.reasons)}]" if s.reasons else "") for s in self.steps
        ]
        return "\n".join(lines)

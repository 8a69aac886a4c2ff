"""What to do about one resource: a pure function of prior state, goal and the provider's answers.

Owns: the choice between same, create, update and replace, and its reasons. Promises: no I/O, no clock.
Never: orders steps (see `graph`) or carries them out (see `execute`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tickover.engine.goal import Goal
from tickover.engine.plan import Op, Step
from tickover.engine.provider import DiffResult, PropertyDiff
from tickover.engine.state import ResourceState
from tickover.engine.structdiff import compare, covers


class Choice(Enum):
    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Decision:
    """delete_first: on a replacement, the old one goes before the new one comes."""

    choice: Choice
    delete_first: bool = False
    diff_keys: tuple[str, ...] = ()
    replace_keys: tuple[str, ...] = ()
    detailed: Mapping[str, PropertyDiff] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    @property
    def effort(self) -> int:
        """How much a decision does; an apply may do less than planned, never more."""
        return (Choice.SAME, Choice.UPDATE, Choice.REPLACE, Choice.CREATE).index(self.choice)


def decide(old: ResourceState | None, goal: Goal, diff: DiffResult | None, forced: bool = False) -> Decision:
    """diff: the provider's answer about old (None where there was nothing to ask).

    forced: something it depends on is deleted before being replaced, and so must this be.
    """
    if old is None:
        return Decision(Choice.CREATE, reasons=("new",))
    if old.pending_replacement:
        return Decision(Choice.CREATE, reasons=("its deletion was done, its creation was not",))
    if old.custom != goal.custom or old.external:
        return Decision(Choice.REPLACE, reasons=("becomes another kind of resource",))
    if forced:
        return Decision(Choice.REPLACE, True, reasons=("replaced with what it depends on",))
    if diff is None:
        return _without_provider(old, goal)
    keys = tuple(sorted(diff.detailed))
    replaces = _replace_keys(diff, goal)
    if replaces:
        return Decision(
            Choice.REPLACE,
            diff.delete_before_replace if goal.delete_before_replace is None else goal.delete_before_replace,
            keys or replaces,
            replaces,
            diff.detailed,
            tuple(f"replace: {key}" for key in replaces),
        )
    if diff.changes or old.init_errors:
        reasons = tuple(f"changed: {key}" for key in keys) or (
            ("its last step was not complete",) if old.init_errors else ("changed",)
        )
        return Decision(Choice.UPDATE, False, keys, (), diff.detailed, reasons)
    return Decision(Choice.SAME)


def _without_provider(old: ResourceState, goal: Goal) -> Decision:
    """Components: compared by their inputs, changed without a provider."""
    diff = compare(old.inputs, goal.inputs)
    if not diff.changes:
        return Decision(Choice.SAME)
    keys = tuple(sorted(diff.detailed))
    return Decision(Choice.UPDATE, False, keys, (), diff.detailed, tuple(f"changed: {k}" for k in keys))


def _replace_keys(diff: DiffResult, goal: Goal) -> tuple[str, ...]:
    keys = set(diff.replaces) | {key for key, change in diff.detailed.items() if change.kind.is_replace}
    keys |= {
        key for key in diff.detailed for path in goal.replace_on_changes if path == "*" or covers(path, key)
    }
    return tuple(sorted(keys))


def steps_of(
    decision: Decision, old: ResourceState | None, new: ResourceState, name: str
) -> tuple[Step, ...]:
    """The steps of a decision in the order they run; a replaced resource's deletion is listed only when it
    comes first (else it follows the program, see `removal`)."""

    def step(op: Op, before: ResourceState | None, after: ResourceState | None) -> Step:
        return Step(
            op=op,
            urn=new.urn,
            type=new.type,
            name=name,
            custom=new.custom,
            parent=new.parent,
            old=before,
            new=after,
            diff_keys=decision.diff_keys,
            replace_keys=decision.replace_keys,
            detailed=decision.detailed,
            reasons=decision.reasons,
            source_position=new.source_position,
        )

    match decision.choice:
        case Choice.SAME:
            return (step(Op.SAME, old, new),)
        case Choice.CREATE:
            return (step(Op.CREATE, None, new),)
        case Choice.UPDATE:
            return (step(Op.UPDATE, old, new),)
        case Choice.REPLACE if decision.delete_first:
            return (
                step(Op.DELETE_REPLACED, old, None),
                step(Op.REPLACE, old, new),
                step(Op.CREATE_REPLACEMENT, old, new),
            )
        case Choice.REPLACE:
            return (step(Op.CREATE_REPLACEMENT, old, new), step(Op.REPLACE, old, new))

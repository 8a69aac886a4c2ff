"""What to do about one resource: a pure function of prior state, goal and the provider's answers.

Owns: the choice between same, create, update and replace, and its reasons. Promises: no I/O, no clock.
Never: orders steps (see `graph`) or carries them out (see `execute`).
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as Collection
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from tickover.engine.goal import Goal
from tickover.engine.plan import Op, Step
from tickover.engine.provider import DiffKind, DiffResult, PropertyDiff
from tickover.engine.state import ResourceState
from tickover.engine.structdiff import contains_path, same
from tickover.engine.values import PropertyValue, contains_unknown, reveal

TRIGGER: Final = "replacementTrigger"
_INIT_ERROR: Final = "#initerror"
_REASONS: Final = {
    "id": "replace: asked for",
    "replaceWith": "replaced with another one",
    TRIGGER: "replace: its replacement trigger",
    _INIT_ERROR: "replace: its last step was not complete",
}
_REPLACING: Final = {
    DiffKind.ADD: DiffKind.ADD_REPLACE,
    DiffKind.DELETE: DiffKind.DELETE_REPLACE,
    DiffKind.UPDATE: DiffKind.UPDATE_REPLACE,
}


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


def decide(old: ResourceState | None, goal: Goal, diff: DiffResult) -> Decision:
    """diff: what is known of the difference (where there is an old one to compare with)."""
    if old is None:
        return Decision(Choice.CREATE, reasons=("new",))
    if old.external:
        return Decision(Choice.REPLACE, reasons=("was not this stack's own",))
    changed = bool(diff.changes) or old.pending_replacement
    keys = tuple(sorted(diff.detailed)) or tuple(sorted(diff.changed_keys))
    replaces = replace_keys_of(diff, goal.replace_on_changes, bool(old.init_errors))
    if (changed or _INIT_ERROR in replaces) and (replaces or old.pending_replacement):
        first = (
            diff.delete_before_replace if goal.delete_before_replace is None else goal.delete_before_replace
        )
        reasons = tuple(_REASONS.get(key, f"replace: {key}") for key in replaces)
        if old.pending_replacement:
            reasons = ("its deletion was done, its creation was not", *reasons)
        return Decision(Choice.REPLACE, first, keys or replaces, replaces, _as_replaced(diff, goal), reasons)
    if changed or old.init_errors:
        reasons = tuple(f"changed: {key}" for key in keys) or (
            ("its last step was not complete",) if old.init_errors else ("changed",)
        )
        return Decision(Choice.UPDATE, False, keys, (), diff.detailed, reasons)
    return Decision(Choice.SAME)


def imposed(
    old: ResourceState,
    goal: Goal,
    *,
    is_targeted: bool,
    replaced: Collection[str],
    is_elsewhere: bool,
) -> DiffResult | None:
    """A difference that is there whatever the provider says: None if there is none.

    is_targeted: asked for by ``--replace`` or a taint; replaced: URNs replaced in this run; is_elsewhere: its
    provider now would not find what another one made.
    """
    if trigger_fired(old.extra.get("replacementTrigger"), goal.replacement_trigger):
        return DiffResult(True, replaces=(TRIGGER,))
    if is_targeted:
        return DiffResult(True, replaces=("id",))
    if not replaced.isdisjoint(goal.replace_with):
        return DiffResult(True, replaces=("replaceWith",))
    if is_elsewhere:
        return DiffResult(True, replaces=("provider",))
    return None


def trigger_fired(old: PropertyValue, new: PropertyValue) -> bool:
    """True if a replacement trigger changed: none before or none now is no change, unknown is one."""
    if contains_unknown(old) or contains_unknown(new):
        return True
    old, new = reveal(old), reveal(new)
    return old is not None and new is not None and not same(old, new)


def replace_keys_of(
    diff: DiffResult, replace_on_changes: tuple[str, ...], has_init_errors: bool
) -> tuple[str, ...]:
    """The properties that force a replacement, replaceOnChanges included."""
    keys = set(diff.replaces) | {key for key, change in diff.detailed.items() if change.kind.is_replace}
    changed = set(diff.detailed) | set(diff.changed_keys)
    if has_init_errors:
        changed.add(_INIT_ERROR)
    if diff.changes or has_init_errors:
        keys |= {key for key in changed for path in replace_on_changes if contains_path(path, key)}
    return tuple(sorted(keys))


def _as_replaced(diff: DiffResult, goal: Goal) -> Mapping[str, PropertyDiff]:
    """The detailed difference, with what replaceOnChanges names marked."""
    return {
        key: replace(change, kind=_REPLACING.get(change.kind, change.kind))
        if any(contains_path(path, key) for path in goal.replace_on_changes)
        else change
        for key, change in diff.detailed.items()
    }


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

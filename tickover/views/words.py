"""The symbol and the words of each operation: one table for every view.

Owns: how an operation is called. Promises: every `Op` has an entry; symbols are Pulumi's. Never: formats.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickover.engine.plan import Op, Step


@dataclass(frozen=True, slots=True)
class Word:
    """plan: in the Plan column; doing and done: of a running and a finished step."""

    symbol: str
    plan: str
    doing: str
    done: str
    style: str


WORDS: dict[Op, Word] = {
    Op.SAME: Word(" ", "", "checking", "unchanged", ""),
    Op.CREATE: Word("+", "create", "creating", "created", "green"),
    Op.UPDATE: Word("~", "update", "updating", "updated", "yellow"),
    Op.DELETE: Word("-", "delete", "deleting", "deleted", "red"),
    Op.REPLACE: Word("+-", "replace", "replacing", "replaced", "magenta"),
    Op.CREATE_REPLACEMENT: Word("++", "create replacement", "creating replacement", "created anew", "green"),
    Op.DELETE_REPLACED: Word("--", "delete replaced", "deleting replaced", "deleted the old", "red"),
    Op.READ: Word(">", "read", "reading", "read", "cyan"),
    Op.READ_REPLACEMENT: Word(">>", "read replacement", "reading replacement", "read anew", "cyan"),
    Op.REFRESH: Word("~", "refresh", "refreshing", "refreshed", "cyan"),
    Op.DISCARD: Word("<", "discard", "discarding", "discarded", "red"),
    Op.REMOVE_PENDING_REPLACE: Word("<", "forget old", "forgetting", "forgotten", "red"),
}

# The halves of a replacement: shown as one step while planned, by themselves while they run.
HALVES = frozenset({Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED})

# The order in which a summary names operations: what takes away comes first.
SUMMARY_ORDER = (
    Op.DELETE,
    Op.DELETE_REPLACED,
    Op.REPLACE,
    Op.DISCARD,
    Op.REMOVE_PENDING_REPLACE,
    Op.UPDATE,
    Op.REFRESH,
    Op.CREATE,
    Op.READ,
    Op.READ_REPLACEMENT,
)


def is_quiet(step: Step) -> bool:
    """True if nothing about the resource changes, so that a plan does not show it."""
    if step.op is Op.REFRESH:
        return step.new is not None and not step.diff_keys and not step.detailed
    return step.op in (Op.SAME, Op.READ)


def shown_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps a plan shows: quiet ones left out, the halves of a replacement merged into it."""
    replaced = {s.urn for s in steps if s.op is Op.REPLACE}
    return tuple(s for s in steps if not is_quiet(s) and not (s.op in HALVES and s.urn in replaced))

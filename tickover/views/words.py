"""The symbol and the words of each operation: one table for every view.

Owns: how an operation is called. Promises: every `Op` has an entry; symbols are Pulumi's. Never: formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from tickover.engine.plan import Op, Step
from tickover.engine.urn import is_default_provider


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
    Op.DISCARD_REPLACED: Word("<<", "discard replaced", "discarding replaced", "discarded the old", "red"),
    Op.REMOVE_PENDING_REPLACE: Word("<", "forget old", "forgetting", "forgotten", "red"),
    Op.IMPORT: Word("=", "import", "importing", "imported", "green"),
    Op.IMPORT_REPLACEMENT: Word(
        "=>", "import replacement", "importing replacement", "imported anew", "green"
    ),
}

# The halves of a replacement: shown as one step while planned, by themselves while they run.
HALVES = frozenset(
    {
        Op.CREATE_REPLACEMENT,
        Op.DELETE_REPLACED,
        Op.IMPORT_REPLACEMENT,
        Op.READ_REPLACEMENT,
        Op.DISCARD_REPLACED,
    }
)
# A replacement is done when its new half is; its old half may come much later.
COUNTED_AS = {Op.CREATE_REPLACEMENT: Op.REPLACE, Op.IMPORT_REPLACEMENT: Op.REPLACE}

# The order in which a summary names operations: what takes away comes first.
SUMMARY_ORDER = (
    Op.DELETE,
    Op.DELETE_REPLACED,
    Op.REPLACE,
    Op.DISCARD,
    Op.DISCARD_REPLACED,
    Op.REMOVE_PENDING_REPLACE,
    Op.UPDATE,
    Op.REFRESH,
    Op.CREATE,
    Op.CREATE_REPLACEMENT,
    Op.IMPORT,
    Op.IMPORT_REPLACEMENT,
    Op.READ,
    Op.READ_REPLACEMENT,
)


def is_skipped(step: Step) -> bool:
    """True if the program asked for the resource, and the targets of the run leave it out."""
    return bool(getattr(step, "skipped", False))


def is_drift(step: Step) -> bool:
    """True if the step takes over what was found in the world, and does nothing to it."""
    return step.op is Op.REFRESH or any(r.startswith(("drifted:", "gone:")) for r in step.reasons)


def is_quiet(step: Step) -> bool:
    """True if nothing about the resource changes, so that a plan does not show it.

    What the engine declares for itself, default providers, is nobody's concern either.
    """
    if is_skipped(step) or is_default_provider(step.urn):
        return True
    if step.op is Op.REFRESH:
        return step.new is not None and not step.diff_keys and not step.detailed
    return step.op in (Op.SAME, Op.READ)


def shown_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps a plan shows: quiet ones left out, the halves of a replacement merged into it."""
    replaced = {s.urn for s in steps if s.op is Op.REPLACE}
    return tuple(s for s in steps if not is_quiet(s) and not (s.op in HALVES and s.urn in replaced))


def position_text(position: str) -> str:
    """``project:///app/__main__.py#12,4`` → ``app/__main__.py:12``; empty stays empty, and so does a place
    in an installed library, which nobody can edit."""
    path, _, line = position.partition("#")
    path = unquote(path.removeprefix("project:///").removeprefix("file://"))
    number = line.partition(",")[0]
    if "/site-packages/" in path:
        return ""
    return f"{path}:{number}" if number.isdigit() else path

"""The last lines of a plan or a run: how many, and which resources are touched.

Owns: the summary. Promises: what is deleted or replaced comes first and is always named; a long list of
creations is cut, never the others. Never: says less than the tree.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from tickover.engine.plan import Op, Plan, Step
from tickover.views.terminal import Look, plural
from tickover.views.words import SUMMARY_ORDER, WORDS, shown_steps

_NAMED_CREATES = 8


def counts_line(counts: Mapping[str, int], look: Look, *, done: bool = False) -> str:
    """``- 1 to delete, +- 1 to replace, + 2 to create, 5 unchanged`` or, when done, in the past."""
    parts = []
    for op in SUMMARY_ORDER:
        count = counts.get(op.value, 0)
        if count and op is not Op.REFRESH:
            word = WORDS[op]
            said = f"{word.symbol} {count} {word.done if done else 'to ' + word.plan}"
            parts.append(look.paint(said, word.style))
    if same := counts.get(Op.SAME.value, 0):
        parts.append(f"{same} unchanged")
    return ", ".join(parts)


def change_count(counts: Mapping[str, int]) -> int:
    """How many resources change."""
    quiet = {Op.SAME.value, Op.READ.value, Op.REFRESH.value}
    return sum(n for key, n in counts.items() if key not in quiet)


def render(plan: Plan, look: Look, operation: str = "up") -> list[str]:
    """The summary as lines."""
    if not plan.has_changes and not shown_steps(plan.steps):
        return [no_changes(plan, operation)]
    lines = [look.paint("Summary", "bold")]
    steps = shown_steps(plan.steps)
    for op in SUMMARY_ORDER:
        names = sorted(f"{_kind(step)} {step.name}" for step in steps if step.op is op)
        if not names:
            continue
        hidden = 0
        if op is Op.CREATE and len(names) > _NAMED_CREATES:
            hidden = len(names) - _NAMED_CREATES
            names = names[:_NAMED_CREATES]
        text = f"{WORDS[op].symbol:>2} {WORDS[op].plan}: {', '.join(names)}"
        text += f" and {hidden} more" if hidden else ""
        folded = textwrap.wrap(text, look.width - 4, subsequent_indent="      ", break_on_hyphens=False)
        lines += [look.paint("    " + line, WORDS[op].style) for line in folded]
    if changed := changed_outputs(plan):
        lines.append(f"       outputs: {', '.join(changed)}")
    changes = change_count(plan.counts)
    what = plural(changes, "change") if changes or not changed else "only outputs change"
    counts = counts_line(plan.counts, look)
    lines.append(f"    {what}: {counts}" if counts else f"    {what}")
    return lines


def _kind(step: Step) -> str:
    return step.type.rpartition(":")[2]


def no_changes(plan: Plan, operation: str) -> str:
    """What a plan without changes says."""
    match operation:
        case "destroy":
            return f"Nothing to delete: {plan.stack} has no resources."
        case "refresh" | "drift":
            count = plural(plan.counts.get(Op.REFRESH.value, 0), "resource")
            return f"No drift: {plan.stack} is as the state says ({count} read)."
        case _:
            count = plural(plan.counts.get(Op.SAME.value, 0), "resource")
            return f"No changes: {plan.stack} is as declared ({count})."


def changed_outputs(plan: Plan) -> tuple[str, ...]:
    """Names of stack outputs that change, each with its sign."""
    found = []
    for name in sorted({*plan.outputs, *plan.old_outputs}):
        if name not in plan.old_outputs:
            found.append(f"+{name}")
        elif name not in plan.outputs:
            found.append(f"-{name}")
        elif plan.outputs[name] != plan.old_outputs[name]:
            found.append(f"~{name}")
    return tuple(found)

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


def render(plan: Plan, look: Look) -> list[str]:
    """The summary as lines."""
    if not plan.has_changes and not shown_steps(plan.steps):
        return [no_changes(plan)]
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
        lines.append(f"     ~ outputs: {', '.join(changed)}")
    changes = change_count(plan.counts)
    lines.append(f"    {plural(changes, 'change')}: {counts_line(plan.counts, look)}")
    return lines


def _kind(step: Step) -> str:
    return step.type.rpartition(":")[2]


def no_changes(plan: Plan) -> str:
    """What a plan without changes says."""
    return f"No changes: {plan.stack} is as declared ({plural(plan.counts.get('same', 0), 'resource')})."


def changed_outputs(plan: Plan) -> tuple[str, ...]:
    """Names of stack outputs that change."""
    names = {*plan.outputs, *plan.old_outputs}
    missing = object()
    return tuple(sorted(n for n in names if plan.outputs.get(n, missing) != plan.old_outputs.get(n, missing)))

"""The plan property by property: what ``--diff`` and the answer "details" show.

Owns: the long form of a plan. Promises: secrets masked, changed properties only, the ones that force a
replacement marked. Never: asks a provider again.
"""

from __future__ import annotations

from tickover.engine.plan import Op, Plan, Step
from tickover.views.terminal import Look
from tickover.views.tree import top_level
from tickover.views.values import changes
from tickover.views.words import WORDS, shown_steps

_STYLE = {"+": "green", "-": "red", "~": "yellow"}


def render(plan: Plan, look: Look) -> list[str]:
    """The details as lines."""
    lines: list[str] = []
    for step in shown_steps(plan.steps):
        lines += _step(step, look)
    for change in changes(plan.old_outputs, plan.outputs):
        if not any(line.startswith("outputs") for line in lines):
            lines.append("outputs:")
        lines.append(_change(change.sign, change.path, change.before, change.after, "", look))
    return lines


def _step(step: Step, look: Look) -> list[str]:
    word = WORDS[step.op]
    lines = [look.paint(f"{word.symbol} {step.type} {step.name}: {word.plan}", word.style)]
    if step.op is Op.DELETE or (step.new is None and step.old is not None):
        identity = step.old.id if step.old is not None and step.custom else ""
        return [*lines, f"      id: {identity}"] if identity else lines
    if step.op is Op.REFRESH:
        old = step.old.outputs if step.old else {}
        new = step.new.outputs if step.new else {}
    else:
        old = step.old.inputs if step.old else {}
        new = step.new.inputs if step.new else {}
    forcing = {top_level(key) for key in step.replace_keys}
    for change in changes(old, new):
        forced = "  # forces replacement" if top_level(change.path) in forcing else ""
        lines.append(_change(change.sign, change.path, change.before, change.after, forced, look))
    return lines


def _change(sign: str, path: str, before: str, after: str, forced: str, look: Look) -> str:
    arrow = " → " if look.unicode else " -> "
    value = arrow.join(text for text in (before, after) if text)
    return look.paint(f"    {sign} {path}: {value}", _STYLE[sign]) + look.paint(forced, "magenta")

"""The plan as a tree of resources with Pulumi's symbols and columns.

Owns: which resources are drawn and what their line says. Promises: sorted, the same text for the same
plan; unchanged resources only where a changed one hangs below. Never: computes a difference.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tickover.engine.plan import Op, Plan, Step
from tickover.engine.provider import DiffKind
from tickover.views.policies import refusing
from tickover.views.terminal import Look, clean
from tickover.views.words import WORDS, shown_steps

_SIGN = {
    DiffKind.ADD: "+",
    DiffKind.ADD_REPLACE: "+",
    DiffKind.DELETE: "-",
    DiffKind.DELETE_REPLACE: "-",
    DiffKind.UPDATE: "~",
    DiffKind.UPDATE_REPLACE: "~",
}
_HEAD = ("", "Type", "Name", "Plan", "Info")
_GAP = "  "
# Reasons that the operation or the changed properties say already.
_TOLD_ALREADY = ("new", "no longer declared", "changed:", "replace:", "drifted:")


Cells = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree. lines: the drawing in front of the type."""

    op: Op
    lines: str
    type: str
    name: str
    info: str


def rows(plan: Plan, look: Look) -> tuple[Row, ...]:
    """The lines of the tree, parents before children."""
    everything = {step.urn: step for step in plan.steps}
    shown = {step.urn: step for step in shown_steps(plan.steps)}
    drawn = dict(shown)
    for step in shown.values():
        parent = step.parent
        while parent in everything and parent not in drawn:
            drawn[parent] = everything[parent]
            parent = everything[parent].parent
    refused = refusing(plan.violations)
    return tuple(
        Row(
            step.op if step.urn in shown else Op.SAME,
            drawing,
            step.type,
            clean(step.name),
            _whole_info(step, step.urn in shown, refused.get(step.urn, ())),
        )
        for step, drawing in layout(drawn, look)
    )


def _whole_info(step: Step, is_shown: bool, refused_by: tuple[str, ...]) -> str:
    parts = (info(step) if is_shown else "", f"refused by {', '.join(refused_by)}" if refused_by else "")
    return "; ".join(filter(None, parts))


def layout(steps: Mapping[str, Step], look: Look) -> Iterator[tuple[Step, str]]:
    """The steps as a tree, parents before children, sorted; each with the drawing in front of it."""
    children: dict[str, list[Step]] = {}
    for step in sorted(steps.values(), key=lambda s: (s.type, s.name, s.urn)):
        children.setdefault(step.parent if step.parent in steps else "", []).append(step)
    glyphs = look.glyphs()
    # Iterative: a chain of a thousand parents must not meet the recursion limit.
    waiting = [(step, "", "") for step in reversed(children.get("", []))]
    while waiting:
        step, drawing, indent = waiting.pop()
        yield step, drawing
        below = children.get(step.urn, [])
        for index, child in reversed(list(enumerate(below))):
            is_last = index == len(below) - 1
            drawing = indent + (glyphs.last if is_last else glyphs.branch)
            waiting.append((child, drawing, indent + (glyphs.blank if is_last else glyphs.through)))


def info(step: Step) -> str:
    """What the Info column says: changed properties, what forces a replacement, further reasons."""
    parts = []
    if step.op in (Op.UPDATE, Op.REPLACE, Op.REFRESH, Op.CREATE_REPLACEMENT):
        if changed := changed_keys(step):
            parts.append(f"[diff: {','.join(changed)}]")
        if step.replace_keys:
            parts.append(f"replaced because of {', '.join(sorted(step.replace_keys))}")
    if step.op is Op.REFRESH and step.new is None:
        parts.append("is gone")
    return "; ".join((*parts, *further_reasons(step)))


def further_reasons(step: Step) -> tuple[str, ...]:
    """The reasons that neither the operation nor the changed properties tell."""
    return tuple(r for r in step.reasons if not r.startswith(_TOLD_ALREADY))


def changed_keys(step: Step) -> tuple[str, ...]:
    """Top-level properties that change, each with its sign, sorted by name."""
    signs = {top_level(key): "~" for key in step.diff_keys}
    for path, difference in step.detailed.items():
        key = top_level(path)
        if path == key:
            signs[key] = _SIGN[difference.kind]
        else:
            signs.setdefault(key, "~")
    return tuple(sign + key for key, sign in sorted(signs.items()))


def top_level(path: str) -> str:
    """``gpuConfig.gpuType`` → ``gpuConfig``."""
    return path.split(".")[0].split("[")[0]


def render(plan: Plan, look: Look) -> list[str]:
    """The tree as lines; none if nothing is shown."""
    drawn = rows(plan, look)
    if not drawn:
        return []
    table = [
        ((WORDS[r.op].symbol, r.lines + r.type, r.name, WORDS[r.op].plan, r.info), WORDS[r.op].style)
        for r in drawn
    ]
    return table_lines(_HEAD, table, look)


def table_lines(
    head: Cells, rows: Sequence[tuple[Cells, str]], look: Look, *, fold: bool = True
) -> list[str]:
    """Rows in columns below their head, each with its style. fold: long information goes to lines of its
    own; else it stays on the line."""
    everything = [(head, "bold"), *rows]
    widths = [max(len(cells[i]) for cells, _ in everything) for i in range(4)]
    return [line for cells, style in everything for line in _line(cells, widths, style, look, fold)]


def _line(cells: Cells, widths: list[int], style: str, look: Look, fold: bool) -> list[str]:
    symbol, kind, name, plan, said = cells
    start = " " + symbol.ljust(widths[0])
    body = _GAP.join((kind.ljust(widths[1]), name.ljust(widths[2]), ""))
    last = plan.ljust(widths[3])
    before = len(start) + len(_GAP) + len(body) + len(last) + len(_GAP)
    body_style = style if style == "bold" else ""
    painted = look.paint(start, style) + _GAP + look.paint(body, body_style) + look.paint(last, style)
    is_head = style == "bold"
    if not said or not fold or is_head or len(said) <= look.width - before:
        return [(painted + _GAP + said).rstrip()]
    # Long information goes below its resource, so that no column is cut.
    indent = " " * (len(start) + len(_GAP) + 6)
    folded = textwrap.wrap(said, look.width, initial_indent=indent, subsequent_indent=indent)
    return [painted.rstrip(), *folded]

"""The plan as a tree of resources with Pulumi's symbols and columns.

Owns: which resources are drawn and what their line says. Promises: sorted, the same text for the same
plan; unchanged resources only where a changed one hangs below. Never: computes a difference.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tickover.engine.plan import Op, Plan, Step
from tickover.engine.provider import DiffKind
from tickover.views.terminal import Look
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
    children: dict[str, list[Step]] = {}
    for step in sorted(drawn.values(), key=lambda s: (s.type, s.name, s.urn)):
        children.setdefault(step.parent if step.parent in drawn else "", []).append(step)
    return tuple(_walk(children, "", "", shown, look))


def _walk(
    children: Mapping[str, list[Step]], parent: str, indent: str, shown: Mapping[str, Step], look: Look
) -> Iterable[Row]:
    glyphs = look.glyphs()
    here = children.get(parent, [])
    for index, step in enumerate(here):
        is_last = index == len(here) - 1
        drawing = "" if not parent else indent + (glyphs.last if is_last else glyphs.branch)
        is_shown = step.urn in shown
        yield Row(
            step.op if is_shown else Op.SAME,
            drawing,
            step.type,
            step.name,
            info(shown[step.urn]) if is_shown else "",
        )
        deeper = "" if not parent else indent + (glyphs.blank if is_last else glyphs.through)
        yield from _walk(children, step.urn, deeper, shown, look)


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
    parts += [r for r in step.reasons if not r.startswith(_TOLD_ALREADY)]
    return "; ".join(parts)


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
    table = [(WORDS[r.op].symbol, r.lines + r.type, r.name, WORDS[r.op].plan, r.info) for r in drawn]
    widths = [max(len(line[i]) for line in (_HEAD, *table)) for i in range(4)]
    styles = ["bold", *(WORDS[r.op].style for r in drawn)]
    lines: list[str] = []
    for style, cells in zip(styles, (_HEAD, *table), strict=True):
        lines += _line(cells, widths, style, look)
    return lines


def _line(cells: tuple[str, ...], widths: list[int], style: str, look: Look) -> list[str]:
    symbol, kind, name, plan, said = cells
    head = " " + symbol.ljust(widths[0])
    body = _GAP.join((kind.ljust(widths[1]), name.ljust(widths[2]), plan.ljust(widths[3])))
    before = len(head) + len(_GAP) + len(body) + len(_GAP)
    painted = look.paint(head, style) + _GAP + look.paint(body, style if style == "bold" else "")
    if style not in ("", "bold"):
        painted = look.paint(head, style) + _GAP + body[: len(body) - widths[3]]
        painted += look.paint(plan.ljust(widths[3]), style)
    room = look.width - before
    if not said or len(said) <= room:
        return [(painted + _GAP + said).rstrip()]
    # Long information goes below its resource, so that no column is cut.
    indent = " " * (len(head) + len(_GAP) + 6)
    folded = textwrap.wrap(said, look.width, initial_indent=indent, subsequent_indent=indent)
    return [painted.rstrip(), *folded]

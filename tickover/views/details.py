"""The plan property by property: what ``--diff`` and the answer "details" show.

Owns: the long form of a plan. Promises: secrets masked, changed properties only, the ones that force a
replacement marked. Never: asks a provider again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tickover.engine.configpath import get_at
from tickover.engine.plan import Op, Plan, Step
from tickover.engine.structdiff import covers, parse_path
from tickover.engine.values import reveal
from tickover.views.differences import Change, changes
from tickover.views.terminal import Look, clean
from tickover.views.tree import further_reasons
from tickover.views.values import conceal, own_properties, shown
from tickover.views.words import WORDS, is_drift, position_text, shown_steps

_STYLE = {"+": "green", "-": "red", "~": "yellow", " ": "", "@": "dim"}
_INDENT = "    "
_DYNAMIC = "__provider"


def render(plan: Plan, look: Look, *, show_secrets: bool = False) -> list[str]:
    """The details as lines."""
    lines: list[str] = []
    for step in shown_steps(plan.steps):
        lines += step_lines(step, look, show_secrets=show_secrets)
    return lines + output_changes(plan, look, show_secrets=show_secrets)


def output_changes(plan: Plan, look: Look, *, show_secrets: bool = False) -> list[str]:
    """How the stack's outputs change; nothing if they do not."""
    found = changes(plan.old_outputs, plan.outputs, show_secrets=show_secrets)
    return ["outputs:", *(line for c in found for line in _change(c, "", look))] if found else []


def step_lines(step: Step, look: Look, *, show_secrets: bool = False) -> list[str]:
    """One resource: what is done to it, who it is, and each property that changes."""
    word = WORDS[step.op]
    head = f"{word.symbol} {step.type} {clean(step.name)}: {word.plan}"
    said = further_reasons(step)
    lines = [look.paint(head, word.style) + (f" ({'; '.join(said)})" if said else "")]
    lines += [look.paint(f"{_INDENT}  {name}: {clean(text)}", "dim") for name, text in _identity(step)]
    for change in _step_changes(step, show_secrets):
        lines += _change(change, _forced(step, change), look)
    return lines


def _identity(step: Step) -> Iterator[tuple[str, str]]:
    if step.old is not None and step.old.id and step.custom:
        yield "id", step.old.id
    yield "urn", step.urn
    if where := position_text(step.source_position):
        yield "at", where
    if step.old and step.new and step.old.provider != step.new.provider:
        yield "provider", f"{step.old.provider} -> {step.new.provider}"


def _step_changes(step: Step, show_secrets: bool) -> list[Change]:
    if step.op is Op.DELETE or (step.new is None and step.old is not None):
        return []
    old, new = properties(step)
    found = list(changes(old, new, show_secrets=show_secrets))
    return [*found, *_only_told(step, found, show_secrets)]


def properties(step: Step) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a step compares, before and after: inputs, of drift outputs; ``hideDiff`` respected."""
    is_same = step.old is not None and step.new is not None and step.old.outputs == step.new.outputs
    kind = "outputs" if is_drift(step) and not is_same else "inputs"
    states = (step.old, step.new)
    paths = {path for s in states if s is not None for path in s.extra.get("hideDiff") or ()}
    old, new = (own_properties(getattr(s, kind)) if s is not None else {} for s in states)
    return conceal(old, sorted(paths)), conceal(new, sorted(paths))


def _only_told(step: Step, found: list[Change], show_secrets: bool) -> Iterator[Change]:
    """What the provider says changes and the inputs do not show: computed properties, mostly."""
    if step.op is Op.CREATE or is_drift(step):
        return
    for path in sorted({*step.diff_keys, *step.detailed, *step.replace_keys}):
        if path == _DYNAMIC:
            yield Change("~", path, note="the code of its dynamic provider changed")
        elif not path.startswith("__") and not any(_is_about(path, change) for change in found):
            yield Change("~", path, _computed(step, path, show_secrets), note="as the provider says")


def _computed(step: Step, path: str, show_secrets: bool) -> str:
    if step.old is None:
        return ""
    outputs = conceal(step.old.outputs, step.old.extra.get("hideDiff") or ())
    try:
        value = get_at(outputs, parse_path(path))
    except LookupError:
        return ""
    return shown(reveal(value) if show_secrets else value)


def _is_about(path: str, change: Change) -> bool:
    return covers(path, change.path.replace("(json)", ""))


def _forced(step: Step, change: Change) -> str:
    precise = {path for path, difference in step.detailed.items() if difference.kind.is_replace}
    known = {parse_path(path)[0] for path in precise if parse_path(path)}
    forcing = precise | {key for key in step.replace_keys if key not in known}
    return "forces replacement" if any(_is_about(path, change) for path in forcing) else ""


def _change(change: Change, forced: str, look: Look) -> list[str]:
    remarks = "; ".join(text for text in (change.note, forced) if text)
    tail = look.paint(f"  # {remarks}", "magenta" if forced else "dim") if remarks else ""
    tail_length = len(remarks) + 4 if remarks else 0
    head, style = f"{_INDENT}{change.sign} {clean(change.path)}:", _STYLE[change.sign]
    if change.lines:
        return [look.paint(head, style) + tail, *(_line(sign, text, look) for sign, text in change.lines)]
    values = [clean(text) for text in (change.before, change.after) if text]
    arrow = " → " if look.unicode else " -> "
    line = f"{head} {arrow.join(values)}".rstrip(" ") if values else head.removesuffix(":")
    if len(line) + tail_length <= look.width or len(values) < 2:
        return [look.paint(line, style) + tail]
    return [
        look.paint(head, style) + tail,
        look.paint(f"{_INDENT * 2}- {values[0]}", "red"),
        look.paint(f"{_INDENT * 2}+ {values[1]}", "green"),
    ]


def _line(sign: str, text: str, look: Look) -> str:
    if sign == "@":
        return look.paint(f"{_INDENT * 2}{look.ellipsis}", "dim")
    return look.paint(f"{_INDENT * 2}{sign} {clean(text)}".rstrip(), _STYLE[sign])

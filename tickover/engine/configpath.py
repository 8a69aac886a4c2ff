"""Paths into a config value, in the CLI's spelling: ``services.chat["odd.name"].schedules[0]``.

Owns: parsing, reading, setting and removing along a path. Promises: values are copied, never changed in
place. Never: knows files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from tickover.errors import ConfigError

_STEP: Final = re.compile(r'\[(?:(?P<index>\d+)|"(?P<quoted>(?:[^"\\]|\\.)*)")\]|\.?(?P<name>[^.\[\]"]+)')


def parse_path(text: str) -> tuple[str | int, ...]:
    """The steps of text; at least one, the first a name. Raises ConfigError ``bad-path``."""
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (position == 0 and text[0] == "."):
            raise _bad(text)
        if match["index"] is not None:
            steps.append(int(match["index"]))
        elif match["quoted"] is not None:
            steps.append(re.sub(r"\\(.)", r"\1", match["quoted"]))
        else:
            steps.append(match["name"])
        position = match.end()
    if not steps or not isinstance(steps[0], str):
        raise _bad(text)
    return tuple(steps)


def get_at(value: Any, steps: Sequence[str | int]) -> Any:
    """The value at the end of steps. Raises LookupError if there is none."""
    for step in steps:
        if not _has(value, step):
            raise LookupError(step)
        value = value[step]
    return value


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def set_at(value: Any, steps: Sequence[str | int], leaf: Any) -> Any:
    """value with leaf at the end of steps; missing maps and lists are made, a list grows by one at most."""
    if not steps:
        return leaf
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        items = list(value) if isinstance(value, list) else []
        if (value is not None and not isinstance(value, list)) or step > len(items):
            raise _bad(f"[{step}]")
        inner = items[step] if step < len(items) else None
        return [*items[:step], set_at(inner, rest, leaf), *items[step + 1 :]]
    if value is not None and not isinstance(value, dict):
        raise _bad(step)
    fields = dict(value or {})
    return fields | {step: set_at(fields.get(step), rest, leaf)}


def removed_at(value: Any, steps: Sequence[str | int]) -> Any:
    """value without what is at the end of steps. Raises LookupError if there is nothing."""
    step, rest = steps[0], steps[1:]
    get_at(value, [step])
    if isinstance(value, list) and isinstance(step, int):
        kept = [] if not rest else [removed_at(value[step], rest)]
        return [*value[:step], *kept, *value[step + 1 :]]
    if not rest:
        return {k: v for k, v in value.items() if k != step}
    return value | {step: removed_at(value[step], rest)}


def _bad(text: str | int) -> ConfigError:
    return ConfigError("bad-path", "Config path not usable", f"`{text}` does not lead to a value.")

"""Property values for people and machines: masked text, paths of secrets and unknowns, differences.

Owns: what a value looks like outside the engine. Promises: a secret's value never leaves. Never: decides
whether something changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tickover.engine.values import PropertyValue, Secret, Unknown, mask

_MISSING = object()


def shown(value: PropertyValue) -> str:
    """One line of text for a value."""
    masked = mask(value)
    if masked in ("[secret]", "[unknown]"):
        return str(masked)
    return json.dumps(masked, ensure_ascii=False, sort_keys=True)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def marked_paths(value: PropertyValue, marker: type[Any], path: str = "") -> Iterator[str]:
    """Paths at which a marker (`Secret` or `Unknown`) stands, in order."""
    if isinstance(value, marker):
        yield path
        return
    match value:
        case Secret():
            yield from marked_paths(value.value, marker, path)
        case list():
            for index, item in enumerate(value):
                yield from marked_paths(item, marker, f"{path}[{index}]")
        case dict():
            for key in sorted(value):
                yield from marked_paths(value[key], marker, _join(path, key))


def secret_paths(value: PropertyValue) -> list[str]:
    return list(marked_paths(value, Secret))


def unknown_paths(value: PropertyValue) -> list[str]:
    return list(marked_paths(value, Unknown))


@dataclass(frozen=True, slots=True)
class Change:
    """One property that differs. sign: ``+``, ``-`` or ``~``."""

    sign: str
    path: str
    before: str
    after: str


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """What differs between two property maps, leaf by leaf, sorted by path."""
    return tuple(_changes(dict(before), dict(after), ""))


def _changes(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            if not (path == "" and key.startswith("__")):
                yield from _changes(before.get(key, _MISSING), after.get(key, _MISSING), _join(path, key))
        return
    if isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else _MISSING
            new = after[index] if index < len(after) else _MISSING
            yield from _changes(old, new, f"{path}[{index}]")
        return
    if before is _MISSING:
        yield Change("+", path, "", shown(after))
    elif after is _MISSING:
        yield Change("-", path, shown(before), "")
    elif before != after:
        is_secret = isinstance(before, Secret) and isinstance(after, Secret)
        yield Change("~", path, shown(before), "[secret, changed]" if is_secret else shown(after))

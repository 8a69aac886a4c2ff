"""Structural comparison of property maps, and property paths.

Owns: how two values differ, key by key, and what a path such as ``a.b[0]`` names. Promises: pure; unknown
differs from everything known. Never: knows a resource type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Final

from tickover.engine.provider import DiffKind, DiffResult, PropertyDiff
from tickover.engine.values import UNKNOWN, PropertyMap, PropertyValue, Secret, Unknown

_PART: Final = re.compile(r"""([^.\[\]]+)|\[(\d+|\*|"[^"]*")\]""")
_MISSING: Final = object()


def same(old: PropertyValue, new: PropertyValue) -> bool:
    """Equal apart from secretness; what is unknown is never the same."""
    if isinstance(old, Secret):
        old = old.value
    if isinstance(new, Secret):
        new = new.value
    match old, new:
        case (Unknown(), _) | (_, Unknown()):
            return False
        case dict(), dict():
            return old.keys() == new.keys() and all(same(old[k], new[k]) for k in old)
        case list(), list():
            return len(old) == len(new) and all(same(a, b) for a, b in zip(old, new, strict=True))
        case (bool(), _) | (_, bool()):
            return old is new
        case _:
            return bool(old == new)


def compatible(planned: PropertyValue, actual: PropertyValue) -> bool:
    """True if actual is what was planned, where the plan knew it."""
    if isinstance(planned, Secret):
        planned = planned.value
    if isinstance(actual, Secret):
        actual = actual.value
    match planned, actual:
        case Unknown(), _:
            return True
        case dict(), dict():
            return all(
                compatible(planned.get(k, _MISSING), actual.get(k, _MISSING))
                for k in planned.keys() | actual.keys()
            )
        case list(), list():
            return len(planned) == len(actual) and all(map(compatible, planned, actual))
        case _:
            return planned is actual or same(planned, actual)


def compare(old: PropertyMap, new: PropertyMap) -> DiffResult:
    """Top-level differences of two input maps, for providers that cannot tell."""
    detailed: dict[str, PropertyDiff] = {}
    for key in sorted(old.keys() | new.keys()):
        if key not in old:
            detailed[key] = PropertyDiff(DiffKind.ADD)
        elif key not in new:
            detailed[key] = PropertyDiff(DiffKind.DELETE)
        elif not same(old[key], new[key]):
            detailed[key] = PropertyDiff(DiffKind.UPDATE)
    return DiffResult(changes=bool(detailed), detailed=detailed)


def parse_path(path: str) -> tuple[str | int, ...]:
    """``a.b[0]["c.d"]`` → ("a", "b", 0, "c.d"); ``*`` stands for every item."""
    parts: list[str | int] = []
    for name, index in _PART.findall(path):
        parts.append(name or (int(index) if index.isdigit() else index.strip('"')))
    return tuple(parts)


def covers(pattern: str, path: str) -> bool:
    """True if pattern names path, something above it, or something inside it."""
    a, b = parse_path(pattern), parse_path(path)
    return all(x in ("*", y) for x, y in zip(a, b, strict=False))


def contains_path(pattern: str, path: str) -> bool:
    """True if pattern names path or something above it."""
    a, b = parse_path(pattern), parse_path(path)
    return len(a) <= len(b) and all(x in ("*", y) for x, y in zip(a, b, strict=False))


def with_ignored(new: PropertyMap, old: PropertyMap, paths: Iterable[str]) -> PropertyMap:
    """new with the values at paths set back to what old has there (ignoreChanges)."""
    paths = tuple(paths)
    if not paths:
        return new
    result: PropertyMap = deepcopy(new)
    for path in paths:
        if path == "*":
            return deepcopy(old)
        _put_back(result, old, parse_path(path))
    return result


def _put_back(new: Any, old: Any, parts: tuple[str | int, ...]) -> None:
    if not parts:
        return
    new = new.value if isinstance(new, Secret) else new
    old = old.value if isinstance(old, Secret) else old
    head, rest = parts[0], parts[1:]
    keys: list[Any] = [head]
    if head == "*":
        keys = list(range(len(new))) if isinstance(new, list) else _names(new, old)
    for key in keys:
        old_value, new_value = _at(old, key), _at(new, key)
        if rest:
            if new_value is not _MISSING:
                _put_back(new_value, old_value, rest)
        elif old_value is _MISSING:
            if isinstance(new, dict):
                new.pop(key, None)
        elif isinstance(new, dict) or (isinstance(new, list) and isinstance(key, int) and key < len(new)):
            new[key] = deepcopy(old_value)


def _names(new: Any, old: Any) -> list[str]:
    return sorted({*new, *old}) if isinstance(new, dict) and isinstance(old, dict) else []


def _at(container: Any, key: Any) -> Any:
    if isinstance(container, Secret):
        container = container.value
    if isinstance(container, dict):
        return container.get(key, _MISSING)
    if isinstance(container, list) and isinstance(key, int) and key < len(container):
        return container[key]
    return _MISSING


def with_unknown(inputs: PropertyMap, keys: Iterable[str]) -> PropertyMap:
    """inputs with the given top-level keys unknown."""
    return {**inputs, **{key: UNKNOWN for key in keys if key in inputs}}

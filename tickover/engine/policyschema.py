"""The part of JSON Schema that policies describe their settings with.

Owns: judging a value against such a schema. Promises: every mistake is reported with its path, the most
basic one of a value alone. Never: follows references to other documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: _is_number(v) and float(v).is_integer(),
    "number": lambda v: _is_number(v),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
    "null": lambda v: v is None,
}


def problems_of(value: Any, schema: Mapping[str, Any], path: str) -> list[str]:
    """``path: what must be`` for each place where value does not fit."""
    own = next((text for broken, text in _broken(value, schema) if broken), "")
    if own:
        return [f"{path}: {own}"]
    return [*_members(value, schema, path), *_combined(value, schema, path)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(kind: Any) -> list[str]:
    return [str(k) for k in kind] if isinstance(kind, list) else [str(kind)] if kind else []


def _broken(value: Any, schema: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """(is it broken, what must be), types first."""
    kinds = [k for k in _names(schema.get("type")) if k in _TYPES]
    yield bool(kinds) and not any(_TYPES[k](value) for k in kinds), f"must be of type {' or '.join(kinds)}"
    choices = schema.get("enum", [value])
    yield not any(_equal(value, c) for c in choices), f"must be one of {', '.join(map(str, choices))}"
    yield not _equal(value, schema.get("const", value)), f"must be {schema.get('const')}"
    if isinstance(value, str):
        yield from _text(value, schema)
    elif _is_number(value):
        yield from _number(value, schema)
    elif isinstance(value, list):
        yield from _size(len(value), schema, "Items", "items")
        double = schema.get("uniqueItems") and any(
            _equal(a, b) for i, a in enumerate(value) for b in value[i + 1 :]
        )
        yield bool(double), "must hold nothing twice"
    elif isinstance(value, dict):
        yield from _size(len(value), schema, "Properties", "properties")


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _text(value: str, schema: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    pattern = str(schema.get("pattern", ""))
    yield not re.search(pattern, value), f"must match {pattern}"
    yield from _size(len(value), schema, "Length", "characters")


def _size(size: int, schema: Mapping[str, Any], word: str, what: str) -> Iterator[tuple[bool, str]]:
    low, high = schema.get(f"min{word}", size), schema.get(f"max{word}", size)
    yield size < low, f"must have at least {low:g} {what}"
    yield size > high, f"must have at most {high:g} {what}"


def _number(value: float, schema: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    # In older drafts these two are booleans that sharpen the two above.
    sharp = {True: low, False: None}
    above = schema.get("exclusiveMinimum")
    below = schema.get("exclusiveMaximum")
    above = sharp[above] if isinstance(above, bool) else above
    below = sharp[below] if isinstance(below, bool) else below
    yield value < low, f"must be at least {low:g}"
    yield value > high, f"must be at most {high:g}"
    yield above is not None and value <= above, f"must be more than {above}"
    yield below is not None and value >= below, f"must be less than {below}"
    step = schema.get("multipleOf") or 0
    yield step > 0 and not float(value / step).is_integer(), f"must be a multiple of {step}"


def _members(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                yield from problems_of(item, items, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key in schema.get("required") or ():
            if key not in value:
                yield f"{path}.{key}: required"
        declared, others = schema.get("properties") or {}, schema.get("additionalProperties", True)
        for key, member in value.items():
            inner = declared.get(key, others)
            if inner is False:
                yield f"{path}.{key}: no such setting"
            elif isinstance(inner, dict):
                yield from problems_of(member, inner, f"{path}.{key}")


def _combined(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    def fits(options: Iterable[Any]) -> int:
        return sum(not problems_of(value, o, path) for o in options)

    for option in schema.get("allOf") or ():
        yield from problems_of(value, option, path)
    if (options := schema.get("anyOf")) and not fits(options):
        yield f"{path}: fits none of the {len(options)} forms it may have"
    if (options := schema.get("oneOf")) and (count := fits(options)) != 1:
        yield f"{path}: fits {count or 'none'} of the {len(options)} forms of which it must have one"
    if isinstance(forbidden := schema.get("not"), dict) and fits([forbidden]):
        yield f"{path}: must not have this form"

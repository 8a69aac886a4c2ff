"""Property values for people and machines: masked text, paths of secrets and unknowns.

Owns: what a value looks like outside the engine. Promises: a secret's value never leaves, nor what
``hideDiff`` hides. Never: compares (see `differences`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tickover.engine.structdiff import parse_path
from tickover.engine.values import (
    Archive,
    Asset,
    PropertyValue,
    ResourceReference,
    Secret,
    Unknown,
    mask,
)

SECRET: Final = "[secret]"
UNKNOWN_TEXT: Final = "[unknown]"
HIDDEN: Final = "[hidden]"
LONGEST: Final = 240
_HASH_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Hidden:
    """A value that the program asked not to show (``hideDiff``); it may still be compared."""

    value: Any

    def __repr__(self) -> str:
        return "Hidden([hidden])"


def shown(value: PropertyValue) -> str:
    """One line of text for a value."""
    match value:
        case Secret():
            return SECRET
        case Unknown():
            return UNKNOWN_TEXT
        case Hidden():
            return HIDDEN
        case Asset() | Archive():
            return _asset(value)
        case ResourceReference(id=str() as id_) if id_:
            return f"{value.urn} ({id_})"
        case ResourceReference():
            return value.urn
    return shortened(json.dumps(masked(value), ensure_ascii=False, sort_keys=True, default=str))


def shortened(text: str) -> str:
    """text, without its middle if it is very long."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]}...{text[-LONGEST // 4 :]} ({len(text)} characters)"


def _asset(value: Asset | Archive) -> str:
    kind = type(value).__name__.lower()
    match value:
        case Archive(assets=assets) if assets is not None:
            what = f"{len(assets)} entries"
        case _ if value.path:
            what = f"file {value.path}"
        case _ if value.uri:
            what = value.uri
        case _:
            what = "text" if isinstance(value, Asset) else "empty"
    return f"{kind}({what}{', ' + value.hash[:_HASH_DIGITS] if value.hash else ''})"


def masked(value: Any) -> Any:
    """`values.mask`, and what is hidden masked too: plain JSON."""
    match value:
        case Hidden():
            return HIDDEN
        case list():
            return [masked(v) for v in value]
        case dict():
            return {k: masked(v) for k, v in value.items()}
        case _:
            return mask(value)


def conceal(value: Any, paths: Iterable[str]) -> Any:
    """value with `Hidden` at each of the paths (``a.b[0]``, ``a.*``) that leads somewhere."""
    for path in paths:
        value = _concealed(value, parse_path(path))
    return value


def _concealed(value: Any, steps: tuple[str | int, ...]) -> Any:
    if not steps:
        return value if isinstance(value, Hidden | Secret) else Hidden(value)
    head, rest = steps[0], steps[1:]
    match value:
        case Secret():
            return value
        case dict():
            return {k: _concealed(v, rest) if head in ("*", k) else v for k, v in value.items()}
        case list():
            return [_concealed(v, rest) if head in ("*", i) else v for i, v in enumerate(value)]
        case _:
            return value


def join(path: str, key: str) -> str:
    """path one property deeper."""
    return f"{path}.{key}" if path else key


def marked_paths(value: PropertyValue, marker: type[Any], path: str = "") -> Iterator[str]:
    """Paths at which a marker (`Secret`, `Unknown`, `Hidden`) stands, in order."""
    if isinstance(value, marker):
        yield path
        return
    match value:
        case list():
            for index, item in enumerate(value):
                yield from marked_paths(item, marker, f"{path}[{index}]")
        case dict():
            for key in sorted(value):
                yield from marked_paths(value[key], marker, join(path, key))


def secret_paths(value: PropertyValue) -> list[str]:
    return list(marked_paths(value, Secret))


def unknown_paths(value: PropertyValue) -> list[str]:
    return list(marked_paths(value, Unknown))


def own_properties(props: Mapping[str, Any]) -> dict[str, Any]:
    """A property map without what only the SDK reads (``__provider`` and the like), sorted."""
    return {k: v for k, v in sorted(props.items()) if not k.startswith("__")}

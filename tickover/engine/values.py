"""Property values inside the engine, and the markers Pulumi gives meaning to.

Owns: the in-memory form of a property value. Promises: plain JSON values plus the markers below,
immutable markers, integral numbers as int. Never: knows how a value travels (see `wire` for protobuf
Structs and `stateio` for the state file).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


class Unknown:
    """A value not known before apply. Only the one instance `UNKNOWN` exists."""

    _instance: Unknown | None = None

    def __new__(cls) -> Unknown:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, slots=True)
class Secret:
    """A value never shown or stored in clear. Never nested directly in another Secret."""

    value: Any

    def __repr__(self) -> str:  # a traceback or log must not leak it
        return "Secret([secret])"


@dataclass(frozen=True, slots=True)
class ResourceReference:
    urn: str
    id: Any = None  # str, UNKNOWN, or None for components
    package_version: str = ""


@dataclass(frozen=True, slots=True)
class Asset:
    """Exactly one of text, path, uri is set; hash is sha256 hex or empty."""

    text: str | None = None
    path: str | None = None
    uri: str | None = None
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    assets: Mapping[str, Any] | None = None
    path: str | None = None
    uri: str | None = None
    hash: str = ""


# None, bool, int, float, str, list, dict[str, …], Unknown, Secret, ResourceReference, Asset, Archive.
PropertyValue = Any
PropertyMap = dict[str, Any]


def contains_unknown(value: PropertyValue) -> bool:
    """True if UNKNOWN occurs anywhere inside."""
    match value:
        case Unknown():
            return True
        case Secret():
            return contains_unknown(value.value)
        case list():
            return any(contains_unknown(v) for v in value)
        case dict():
            return any(contains_unknown(v) for v in value.values())
        case ResourceReference():
            return contains_unknown(value.id)
        case _:
            return False


def contains_secret(value: PropertyValue) -> bool:
    """True if a Secret occurs anywhere inside."""
    match value:
        case Secret():
            return True
        case list():
            return any(contains_secret(v) for v in value)
        case dict():
            return any(contains_secret(v) for v in value.values())
        case _:
            return False


def reveal(value: PropertyValue) -> PropertyValue:
    """The value with every Secret unwrapped (for a call that needs it, never for a person)."""
    match value:
        case Secret():
            return reveal(value.value)
        case list():
            return [reveal(v) for v in value]
        case dict():
            return {k: reveal(v) for k, v in value.items()}
        case _:
            return value


def mask(value: PropertyValue) -> PropertyValue:
    """The value for people and machines to read: ``[secret]`` and ``[unknown]`` in place of the markers."""
    match value:
        case Secret():
            return "[secret]"
        case Unknown():
            return "[unknown]"
        case list():
            return [mask(v) for v in value]
        case dict():
            return {k: mask(v) for k, v in value.items()}
        case ResourceReference():
            return value.urn
        case Asset() | Archive():
            return f"{type(value).__name__.lower()}:{value.path or value.uri or value.hash or 'inline'}"
        case _:
            return value

"""What a peer that knows no secrets or unknowns loses, put back.

Owns: the copying of secrecy from what was sent to what came back. Promises: nothing that was secret under
a name comes back in clear under it; objects are marked inside, so that one secret does not hide its
neighbours. Never: talks to anyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tickover.engine.values import (
    PropertyMap,
    PropertyValue,
    Secret,
    Unknown,
    contains_secret,
    contains_unknown,
)
from tickover.engine.wire import as_secret


def remark(outputs: PropertyMap, inputs: Mapping[str, PropertyValue]) -> PropertyMap:
    """outputs, secret where inputs of the same name are; objects on both sides are compared inside."""
    return {key: _marked(value, inputs[key]) if key in inputs else value for key, value in outputs.items()}


def _marked(out: PropertyValue, sent: PropertyValue) -> PropertyValue:
    if isinstance(out, dict) and isinstance(sent, dict):
        return remark(out, sent)
    return as_secret(out) if contains_secret(sent) else out


def all_secret(outputs: PropertyMap) -> PropertyMap:
    """outputs of a function that was given a secret: any of them may tell it."""
    return {key: as_secret(value) for key, value in outputs.items()}


def without_unknowns(value: PropertyValue) -> Any:
    """value without the parts that are not known; an unknown value itself is None."""
    match value:
        case Unknown():
            return None
        case Secret():
            return Secret(without_unknowns(value.value))
        case list():
            return [without_unknowns(item) for item in value]
        case dict():
            return {k: without_unknowns(v) for k, v in value.items() if not isinstance(v, Unknown)}
        case _:
            return value


def has_unknown(values: Mapping[str, PropertyValue]) -> bool:
    """True if any value is not known."""
    return any(contains_unknown(value) for value in values.values())

"""What property maps look like to FC and what differs between two of them: pure functions of values.

Owns: the wire form of inputs, the parts that are known, the detailed diff, and the split of what the API
answers into drift and mere normalisation. Promises: Secret and UNKNOWN survive; secretness alone is no
difference. Never: calls anybody, knows a resource type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tickover.engine.provider import DiffKind, PropertyDiff
from tickover.engine.values import PropertyMap, PropertyValue, Secret, Unknown, contains_unknown, reveal


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The model class inside ``Model | None``, ``tuple[Model, ...]``, ``Annotated[…]``; None without one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = nested_model(part)
        if found is not None:
            return found
    return None


def wire_names(model: type[BaseModel]) -> dict[str, str]:
    """Field name → wire name, in the order of the model."""
    return {name: field.alias or name for name, field in model.model_fields.items()}


def to_wire_names(model: type[BaseModel], value: PropertyValue) -> PropertyValue:
    """value with the snake_case names of known fields in their wire form, None members dropped."""
    match value:
        case Secret():
            return Secret(to_wire_names(model, value.value))
        case list() | tuple():
            return [to_wire_names(model, item) for item in value]
        case dict():
            names = wire_names(model)
            inner = {names[n]: nested_model(f.annotation) for n, f in model.model_fields.items()}
            renamed: PropertyMap = {}
            for key, item in value.items():
                wire = str(names.get(key, key))
                child = inner.get(wire)
                if item is not None:
                    renamed[wire] = to_wire_names(child, item) if child else item
            return renamed
        case _:
            return value


# Fields that may hold secrets but need not: the program says so, or the handler.
SELDOM_SECRET = frozenset({"environmentVariables", "triggerConfig"})


def is_secret_field(wire: str, field: FieldInfo) -> bool:
    """True if the value is secret whatever the program says: the model keeps it out of repr."""
    return not field.repr and wire not in SELDOM_SECRET


def mark_secrets(model: type[BaseModel], value: PropertyMap) -> PropertyMap:
    """value with the members that are always secret wrapped as Secret."""
    marked = dict(value)
    for name, field in model.model_fields.items():
        wire = field.alias or name
        if wire in marked:
            marked[wire] = _mark(marked[wire], nested_model(field.annotation), is_secret_field(wire, field))
    return marked


def _mark(value: PropertyValue, model: type[BaseModel] | None, is_secret: bool) -> PropertyValue:
    if isinstance(value, Secret) or value is None:
        return value
    if is_secret:
        return Secret(value)
    match value:
        case dict() if model is not None:
            return mark_secrets(model, value)
        case list():
            return [_mark(item, model, False) for item in value]
        case _:
            return value


PLACEHOLDER = ""


def known_part(value: PropertyMap) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The plain values (secrets revealed), a placeholder for each unknown one, and the paths of those."""
    unknown: list[str] = []
    known: dict[str, Any] = _known(reveal(value), "", unknown)
    return known, tuple(unknown)


def _known(value: Any, path: str, unknown: list[str]) -> Any:
    match value:
        case Unknown():
            unknown.append(path)
            return PLACEHOLDER
        case dict():
            return {k: _known(v, f"{path}.{k}" if path else k, unknown) for k, v in value.items()}
        case list():
            return [_known(item, f"{path}[{n}]", unknown) for n, item in enumerate(value)]
        case _:
            return value


def touches(path: str, other: str) -> bool:
    """True if one path is the other or lies inside it."""
    short, long = sorted((path, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))


def same(left: PropertyValue, right: PropertyValue) -> bool:
    """Equal for FC: secretness aside, JSON text by its meaning, 1 equal to 1.0, but no bool to a number."""
    left, right = reveal(left), reveal(right)
    match left, right:
        case dict(), dict():
            return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
        case list(), list():
            return len(left) == len(right) and all(map(same, left, right))
        case str(), str():
            return left == right or _same_json(left, right)
        case _:
            return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _as_json_object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _same_json(left: str, right: str) -> bool:
    a, b = _as_json_object(left), _as_json_object(right)
    return a is not None and b is not None and same(a, b)


def detailed_diff(
    old: PropertyMap, new: PropertyMap, replaces: frozenset[str] | None
) -> dict[str, PropertyDiff]:
    """Path → kind of change, sorted. replaces: top-level names that force a replacement; None means all."""
    changed: dict[str, PropertyDiff] = {}
    for key in sorted(old.keys() | new.keys()):
        force = replaces is None or key in replaces
        for path, kind in _changes(old, new, key, key):
            changed[path] = PropertyDiff(DiffKind(f"{kind.value}-replace") if force else kind)
    return changed


def _changes(old: Mapping[Any, Any], new: Mapping[Any, Any], key: Any, path: str) -> Iterator[Any]:
    if key not in new:
        if old[key] is not None:
            yield path, DiffKind.DELETE
        return
    if key not in old or old[key] is None:
        if new[key] is not None:
            yield path, DiffKind.ADD
        return
    before, after = reveal(old[key]), reveal(new[key])
    match before, after:
        case dict(), dict():
            for inner in sorted(before.keys() | after.keys()):
                yield from _changes(before, after, inner, f"{path}.{inner}")
        case list(), list():
            was, now = dict(enumerate(before)), dict(enumerate(after))
            for n in sorted(was.keys() | now.keys()):
                yield from _changes(was, now, n, f"{path}[{n}]")
        case _:
            if contains_unknown(after) or not same(before, after):
                yield path, DiffKind.UPDATE


def managed(inputs: PropertyMap, answered: Mapping[str, Any]) -> PropertyMap:
    """The inputs as the API has them now: our keys only, our spelling where the meaning is the same.

    A value that the API leaves out stays if it is secret or empty (FC omits both), else it is gone.
    """
    merged = {key: _managed(item, answered.get(key)) for key, item in inputs.items()}
    return {key: item for key, item in merged.items() if item is not None}


def _managed(ours: PropertyValue, theirs: Any) -> PropertyValue:
    if isinstance(ours, Secret):
        inner = _managed(ours.value, theirs) if theirs else ours.value
        return Secret(inner) if inner is not None else ours
    if theirs is None:
        return ours if isinstance(ours, Unknown) or not _says_something(ours) else None
    match ours, theirs:
        case dict(), dict():
            return managed(ours, theirs)
        case list(), list() if len(ours) == len(theirs):
            return [_managed(a, b) for a, b in zip(ours, theirs, strict=True)]
        case str(), str():
            a, b = _as_json_object(ours), _as_json_object(theirs)
            if a is not None and b is not None:
                return ours if same(managed(a, b), a) else theirs
    return ours if same(ours, theirs) else theirs


def _says_something(value: PropertyValue) -> bool:
    """False for what a leaf-wise empty value says: nothing, zero, false, empty text."""
    match value:
        case Secret():
            return False
        case dict():
            return any(_says_something(v) for v in value.values())
        case list():
            return any(_says_something(v) for v in value)
        case _:
            return bool(value)

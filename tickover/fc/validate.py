"""Validation: every violation of a wire object at once, each with its property path.

Owns: `violations` and `parse`. Promises: all of them in one call (types, limits, unknown names and rules
across properties), in path order, full sentences, no value of a secret. Never: changes a value; the object
that is parsed is the object that was given, apart from the spelling of its keys.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar, get_args

from pydantic import ValidationError

from tickover.fc.base import FcModel, wire_names
from tickover.fc.limits import VIOLATION, kind_of, listed, nearest

M = TypeVar("M", bound=FcModel)
Path = tuple[str | int, ...]

# Up to how many properties are listed to somebody who wrote an unknown one.
_FEW: Final = 10
# pydantic's own error types → what the value must be.
_WANTED: Final[Mapping[str, str]] = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "string_type": "a text",
}


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """path: FC's names, ``nasConfig.mountPoints[0].serverAddr``. message: a full sentence."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidResource(ValueError):
    """A wire object that is not the resource it should be."""

    def __init__(self, kind: str, found: tuple[Violation, ...]) -> None:
        super().__init__("\n".join([f"{kind} is not valid:", *(f"  {v}" for v in found)]))
        self.kind = kind
        self.violations = found


def parse(model_cls: type[M], wire: Mapping[str, Any]) -> M:
    """The model of a wire object, or InvalidResource with all violations."""
    found = violations(model_cls, wire)
    if found:
        raise InvalidResource(model_cls.__name__, found)
    renamed, _ = _renamed(model_cls, wire, ())
    return model_cls.model_validate(renamed)


def violations(
    model_cls: type[FcModel], wire: Mapping[str, Any], unknown: Collection[str] = ()
) -> tuple[Violation, ...]:
    """All that is wrong with a wire object, sorted by path.

    unknown: paths whose values are not known yet; nothing is said about them or about what is below them.
    """
    return tuple(_violation(path, predicate) for path, predicate in findings(model_cls, wire, unknown))


def findings(
    model_cls: type[FcModel], wire: Mapping[str, Any], unknown: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    """`violations` as pairs of path and predicate ("must be …"), to be put under another path."""
    if not isinstance(wire, Mapping):
        return (("", f"must be an object, but is {kind_of(wire)}"),)
    renamed, found = _renamed(model_cls, wire, ())
    gaps = {_parsed(path) for path in unknown}
    for path in gaps:
        _take_out(renamed, path)
    valid = copy.deepcopy(renamed)
    try:
        model_cls.model_validate(renamed)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            where: Path = detail["loc"]
            gaps.add(where)
            _take_out(valid, where)
            found.append((_written(where), _predicate(dict(detail))))
    found.extend(
        (_written(where), predicate) for where, predicate in _broken_rules(model_cls, valid, (), gaps)
    )
    certain = [f for f in found if not any(_is_under(f[0], path) for path in unknown)]
    return tuple(sorted(set(certain), key=lambda f: (_sort_key(f[0]), f[1])))


def _violation(path: str, predicate: str) -> Violation:
    name = path.rsplit(".", 1)[-1] or "The object"
    end = "" if predicate.endswith("?") else "."
    return Violation(path, f"{name} {predicate}{end}")


# -- keys ----------------------------------------------------------------------------------------------


def _renamed(
    model_cls: type[FcModel], wire: Mapping[str, Any], at: Path
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The object with FC's key names and without nulls, and a finding for each unknown key."""
    names = wire_names(model_cls)
    result: dict[str, Any] = {}
    found: list[tuple[str, str]] = []
    for key, value in wire.items():
        name = names.get(key, key)
        if name not in names.values():
            known = [*names.values(), *names]
            hint = nearest(key, known)
            if not hint and len(names) <= _FEW:
                hint = f"; it has {listed(list(names.values()), 'and')}"
            owner = _written(at) or model_cls.__name__
            found.append((_written((*at, key)), f"is not a property of {owner}{hint}"))
        elif name in result:
            found.append((_written((*at, name)), "is given twice, in both spellings"))
        elif value is not None:
            result[name], more = _renamed_value(model_cls, name, value, (*at, name))
            found.extend(more)
    return result, found


def _renamed_value(
    model_cls: type[FcModel], name: str, value: Any, at: Path
) -> tuple[Any, list[tuple[str, str]]]:
    nested = nested_models(model_cls).get(name)
    if nested is None:
        return value, []
    if isinstance(value, FcModel):
        value = value.to_wire()
    if isinstance(value, Mapping):
        return _renamed(nested, value, at)
    if not isinstance(value, list | tuple):
        return value, []
    items: list[Any] = []
    found: list[tuple[str, str]] = []
    for index, item in enumerate(value):
        plain = item.to_wire() if isinstance(item, FcModel) else item
        if isinstance(plain, Mapping):
            plain, more = _renamed(nested, plain, (*at, index))
            found.extend(more)
        items.append(plain)
    return items, found


@cache
def nested_models(model_cls: type[FcModel]) -> Mapping[str, type[FcModel]]:
    """Wire name → model of the properties that are objects, or lists of objects."""
    names = wire_names(model_cls)
    found = {names[f]: _model_in(info.annotation) for f, info in model_cls.model_fields.items()}
    return {name: model for name, model in found.items() if model is not None}


def _model_in(annotation: Any) -> type[FcModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, FcModel):
        return annotation
    return next((m for m in map(_model_in, get_args(annotation)) if m is not None), None)


# -- rules ---------------------------------------------------------------------------------------------


class _Watched(dict[str, Any]):
    """A wire object that knows which of its properties a rule has asked for."""

    def __init__(self, wire: Mapping[str, Any]) -> None:
        super().__init__(wire)
        self.asked: set[str] = set()

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def _broken_rules(
    model_cls: type[FcModel], wire: Mapping[str, Any], at: Path, gaps: Collection[Path]
) -> Iterator[tuple[Path, str]]:
    """What the rules say, apart from those that asked for a property that is unknown or already wrong."""
    for rule in model_cls.rules:
        watched = _Watched(wire)
        said = list(rule(watched))
        if not any((*at, name) in gaps for name in watched.asked):
            yield from (((*at, *_parsed(path)), predicate) for path, predicate in said)
    for name, nested in nested_models(model_cls).items():
        value = wire.get(name)
        if isinstance(value, Mapping):
            yield from _broken_rules(nested, value, (*at, name), gaps)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from _broken_rules(nested, item, (*at, name, index), gaps)


def _take_out(wire: Any, path: Path) -> None:
    """Remove the value at path; an item of a list becomes empty, so that the others keep their index."""
    holder: Any = wire
    for step in path[:-1]:
        if isinstance(step, str) and isinstance(holder, dict):
            holder = holder.get(step)
        elif isinstance(step, int) and isinstance(holder, list) and step < len(holder):
            holder = holder[step]
        else:
            return
    last = path[-1] if path else ""
    if isinstance(holder, dict):
        holder.pop(str(last), None)
    elif isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        holder[last] = {}


def _predicate(detail: Mapping[str, Any]) -> str:
    kind = detail["type"]
    if kind == VIOLATION:
        return str(detail["ctx"]["predicate"])
    if kind == "missing":
        return "is required"
    wanted = _WANTED.get(kind)
    if wanted is None:
        return f"is not valid ({kind})"
    return f"must be {wanted}, but is {kind_of(detail['input'])}"


# -- paths ---------------------------------------------------------------------------------------------


def _written(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _parsed(path: str) -> Path:
    steps = re.findall(r"\[(\d+)\]|([^.\[\]]+)", path)
    return tuple(int(index) if index else name for index, name in steps)


def _is_under(path: str, root: str) -> bool:
    return path == root or path.startswith((f"{root}.", f"{root}["))


def _sort_key(path: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((0, s, "") if isinstance(s, int) else (1, 0, s) for s in _parsed(path))

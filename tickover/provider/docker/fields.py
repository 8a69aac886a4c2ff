"""What an input of a docker resource may be, and the check of a property map against such a description.

Owns: `Field`, `Resource`, defaults, coercion and the sentences about bad inputs. Promises: Secret and
UNKNOWN survive; the result carries the ``__defaults`` lists that Pulumi's docker plugin writes, so a stack
can change hands. Never: calls Docker.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from tickover.engine.provider import CheckFailure, CheckRequest, CheckResult
from tickover.engine.values import PropertyMap, PropertyValue, Secret, Unknown, reveal

DEFAULTS: Final = "__defaults"
PLUGIN_HINT: Final = "tickover plugin install resource docker VERSION"
NAME_LIMIT: Final = 255


class Kind(Enum):
    """The shape of a value. MAP: text to text; LIST: texts; OBJECT: one nested; OBJECTS: a list of them."""

    TEXT = "text"
    FLAG = "true or false"
    NUMBER = "a whole number"
    MAP = "a map of texts"
    LIST = "a list of texts"
    OBJECT = "an object"
    OBJECTS = "a list of objects"


@dataclass(frozen=True, slots=True)
class Field:
    """One input.

    in_place: can change without a replacement. unordered: a list whose order says nothing. chosen: Docker
    chooses where the program says nothing, so no longer saying it is no change. refused: why the built-in
    provider does not cover it. least: the smallest number. fits, says: a pattern, and what it means.
    """

    kind: Kind = Kind.TEXT
    required: bool = False
    default: Any = None
    in_place: bool = False
    unordered: bool = False
    chosen: bool = False
    secret: bool = False
    refused: str = ""
    least: int | None = None
    fits: str = ""
    says: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource type: its inputs. autonamed: a missing name is made from the resource's."""

    token: str
    noun: str
    fields: Mapping[str, Field]
    autonamed: bool = False


def needs_plugin(what: str, why: str = "") -> str:
    """The sentence for what is not covered, by name."""
    reason = f": {why}" if why else ""
    return (
        f"{what} is not covered by the built-in docker provider{reason}. "
        f"Install the real plugin: {PLUGIN_HINT}"
    )


def check(resource: Resource, request: CheckRequest) -> CheckResult:
    """The usable inputs with defaults, and every bad one."""
    checker = _Checker()
    news = dict(request.news)
    named = False
    if resource.autonamed and news.get("name") in (None, ""):
        news["name"] = _autoname(request)
        named = True
    inputs = checker.members(resource.fields, news, "", resource.noun)
    if named:
        inputs[DEFAULTS] = sorted([*inputs[DEFAULTS], "name"])
    return CheckResult(inputs, tuple(checker.failures))


def _autoname(request: CheckRequest) -> str:
    """The name of before if it was made here too, else ``RESOURCE-1a2b3c4``."""
    olds = request.olds or {}
    if "name" in (olds.get(DEFAULTS) or []) and isinstance(olds.get("name"), str):
        return str(olds["name"])
    seed = request.random_seed
    tail = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(4)
    base = request.urn.rsplit("::", 1)[-1]
    return f"{base[: NAME_LIMIT - 8]}-{tail[:7]}"


class _Checker:
    """Collects failures while it walks the inputs."""

    def __init__(self) -> None:
        self.failures: list[CheckFailure] = []

    def fail(self, path: str, reason: str) -> None:
        self.failures.append(CheckFailure(path, reason))

    def members(self, fields: Mapping[str, Field], given: PropertyMap, at: str, noun: str) -> PropertyMap:
        result: PropertyMap = {}
        defaulted: list[str] = []
        for name, value in given.items():
            path = f"{at}.{name}" if at else name
            known = fields.get(name)
            if name == DEFAULTS or value is None:
                continue
            if known is None:
                self.fail(path, f"{noun} has no property {name}.")
            elif known.refused and reveal(value) not in (False, "", [], {}):
                self.fail(path, needs_plugin(f"{noun}.{path}", known.refused))
            elif not known.refused or known.default is not None:
                result[name] = self.value(known, value, path, noun)
        for name, known in fields.items():
            path = f"{at}.{name}" if at else name
            if name in result:
                continue
            if known.default is not None:
                result[name] = known.default
                defaulted.append(name)
            elif known.required and given.get(name) is None:
                self.fail(path, f"{noun} needs {path}.")
        result[DEFAULTS] = sorted(defaulted)
        return result

    def value(self, known: Field, value: PropertyValue, path: str, noun: str) -> PropertyValue:
        """value in the form the field wants."""
        match value:
            case Unknown():
                return value
            case Secret():
                inner = self.value(known, value.value, path, noun)
                return inner if isinstance(inner, Secret) else Secret(inner)
        checked = self._plain(known, value, path, noun)
        return Secret(checked) if known.secret else checked

    def _plain(self, known: Field, value: PropertyValue, path: str, noun: str) -> PropertyValue:
        match known.kind, value:
            case (Kind.OBJECT, dict()):
                return self.members(known.fields, value, path, noun)
            case (Kind.OBJECTS, list()):
                return [self._object(known, item, f"{path}[{n}]", noun) for n, item in enumerate(value)]
            case (Kind.LIST, list()):
                return [self.value(_TEXT, item, f"{path}[{n}]", noun) for n, item in enumerate(value)]
            case (Kind.MAP, dict()):
                return {
                    k: self.value(_TEXT, item, f"{path}.{k}", noun)
                    for k, item in value.items()
                    if k != DEFAULTS
                }
        scalar = _scalar(known.kind, value)
        if scalar is None:
            self.fail(path, f"{path} must be {known.kind.value}.")
            return value
        self._limits(known, scalar, path)
        return scalar

    def _object(self, known: Field, item: PropertyValue, path: str, noun: str) -> PropertyValue:
        match item:
            case Unknown():
                return item
            case Secret():
                return Secret(self._object(known, item.value, path, noun))
            case dict():
                return self.members(known.fields, item, path, noun)
        self.fail(path, f"{path} must be an object.")
        return item

    def _limits(self, known: Field, scalar: Any, path: str) -> None:
        if known.least is not None and isinstance(scalar, int) and scalar < known.least:
            self.fail(path, f"{path} must be {known.least} or more.")
        if known.fits and isinstance(scalar, str) and not re.fullmatch(known.fits, scalar):
            self.fail(path, f"{path} must be {known.says}.")


_TEXT: Final = Field()


def _scalar(kind: Kind, value: PropertyValue) -> Any:
    """value as text, flag or number, as Pulumi's plugin coerces; None if it cannot be one."""
    match kind, value:
        case (Kind.TEXT, str()) | (Kind.FLAG, bool()):
            return value
        case (Kind.TEXT, bool()):
            return "true" if value else "false"
        case (Kind.TEXT, int() | float()):
            return str(value)
        case (Kind.NUMBER, int()) if not isinstance(value, bool):
            return value
        case (Kind.NUMBER, str()) if re.fullmatch(r"-?\d+", value):
            return int(value)
        case (Kind.FLAG, "true" | "false"):
            return value == "true"
    return None


def without_defaults(value: PropertyValue) -> PropertyValue:
    """value without the ``__defaults`` lists in it."""
    match value:
        case Secret():
            return Secret(without_defaults(value.value))
        case list():
            return [without_defaults(v) for v in value]
        case dict():
            return {k: without_defaults(v) for k, v in value.items() if k != DEFAULTS}
        case _:
            return value


def with_defaults(fields: Mapping[str, Field], value: PropertyMap) -> PropertyMap:
    """Plain inputs with the defaults filled in, nested ones too: for comparing with what another wrote."""
    filled = {k: v for k, v in value.items() if v is not None and k != DEFAULTS}
    for name, known in fields.items():
        if known.default is not None:
            filled.setdefault(name, known.default)
        if known.fields and name in filled:
            filled[name] = _nested_defaults(known.fields, filled[name])
    return filled


def _nested_defaults(fields: Mapping[str, Field], value: PropertyValue) -> PropertyValue:
    match value:
        case Secret():
            return Secret(_nested_defaults(fields, value.value))
        case list():
            return [_nested_defaults(fields, item) for item in value]
        case dict():
            return with_defaults(fields, value)
        case _:
            return value

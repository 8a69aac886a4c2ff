"""Limits of single values, written beside the field they limit.

Owns: the markers `Whole`, `Number`, `Text`, `Choice`, `Json` for `Annotated[...]`, and the predicates they
answer with ("must be between 1 and 200, but is 300"). Promises: a wrong type is a violation, never a
silent conversion; a text value is only repeated where it cannot be a secret. Never: looks at other fields.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VIOLATION: Final = "limit"


def broken(predicate: str) -> PydanticCustomError:
    """A violation found while one value is read."""
    return PydanticCustomError(VIOLATION, "{predicate}", {"predicate": predicate})


def nearest(word: str, known: Iterable[str]) -> str:
    """``" Did you mean x?"`` for a near miss, else nothing."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f"; did you mean {names[close[0]]}?" if close else ""


def listed(values: Sequence[object], last: str = "or") -> str:
    """``a, b or c``."""
    words = [str(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


class _Marker:
    """Runs `check` before pydantic's own reading and adds `keywords` to the JSON schema."""

    def check(self, value: Any) -> Any:
        raise TypeError("a marker defines check")

    def keywords(self) -> dict[str, Any]:
        return {}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        if inner["type"] != "nullable":
            return core_schema.no_info_before_validator_function(self.check, inner)
        checked = core_schema.no_info_before_validator_function(self.check, inner["schema"])
        return core_schema.nullable_schema(checked)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(schema)
        if "anyOf" not in made:
            return {**made, **self.keywords()}
        given, *others = made["anyOf"]  # the other one is null
        return {**made, "anyOf": [{**given, **self.keywords()}, *others]}


@dataclass(frozen=True, slots=True)
class Whole(_Marker):
    """An integer from low to high in steps from zero. unit: words after the numbers."""

    low: int
    high: int
    step: int = 1
    unit: str = ""

    def check(self, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # Pulumi's wire knows only doubles
        if isinstance(value, bool) or not isinstance(value, int):
            raise broken(f"must be a whole number, {self.range()}, but is {described(value)}")
        if not self.low <= value <= self.high:
            raise broken(f"must be {self.range()}, but is {value}")
        if value % self.step:
            down = value - value % self.step
            near = [n for n in (down, down + self.step) if self.low <= n <= self.high]
            raise broken(f"must be {self.range()}, but is {value}; the nearest is {listed(near)}")
        return value

    def range(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        step = f" in steps of {self.step}" if self.step != 1 else ""
        return f"between {self.low} and {self.high}{unit}{step}"

    def keywords(self) -> dict[str, Any]:
        step = {"multipleOf": self.step} if self.step != 1 else {}
        return {"minimum": self.low, "maximum": self.high, **step}


@dataclass(frozen=True, slots=True)
class Number(_Marker):
    """A decimal number from low to high, a multiple of step if given; all three as decimal text."""

    low: str
    high: str
    step: str = ""

    def check(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise broken(f"must be a number, {self.range()}, but is {described(value)}")
        exact = Decimal(repr(value))
        if not exact.is_finite() or not Decimal(self.low) <= exact <= Decimal(self.high):
            raise broken(f"must be {self.range()}, but is {value}")
        if self.step and exact % Decimal(self.step):
            raise broken(f"must be {self.range()}, but is {value}")
        return float(value)

    def range(self) -> str:
        step = f" in steps of {self.step}" if self.step else ""
        return f"between {self.low} and {self.high}{step}"

    def keywords(self) -> dict[str, Any]:
        return {"minimum": float(self.low), "maximum": float(self.high)}


@dataclass(frozen=True, slots=True)
class Text(_Marker):
    """A text of low to high characters that matches pattern as a whole. says: the pattern in words.

    show: the value may be repeated in a message.
    """

    low: int = 0
    high: int = 0
    pattern: str = ""
    says: str = ""
    show: bool = True

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise broken(f"must be a text, but is {kind_of(value)}")
        if self.low and not value:
            raise broken("must not be empty")
        if len(value) < self.low or (self.high and len(value) > self.high):
            bounds = f"{self.low} to {self.high}" if self.high else f"at least {self.low}"
            raise broken(f"must have {bounds} characters, but has {len(value)}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            but = f", but is {value!r}" if self.show else ""
            raise broken(f"must {self.says}{but}")
        return value

    def keywords(self) -> dict[str, Any]:
        bounds = {"minLength": self.low, "maxLength": self.high}
        found: dict[str, Any] = {key: bound for key, bound in bounds.items() if bound}
        return {**found, "pattern": f"^(?:{self.pattern})$"} if self.pattern else found


@dataclass(frozen=True, slots=True, init=False)
class Choice(_Marker):
    """One of a few words."""

    values: tuple[str, ...]

    def __init__(self, *values: str) -> None:
        object.__setattr__(self, "values", values)

    def check(self, value: Any) -> str:
        if isinstance(value, str) and value in self.values:
            return value
        hint = nearest(value, self.values) if isinstance(value, str) else ""
        raise broken(f"must be {listed(self.values)}, but is {described(value)}{hint}")

    def keywords(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Json(_Marker):
    """A text that is a JSON object. Its content is never repeated: it may hold tokens."""

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise broken(f"must be a JSON object written as a text, but is {kind_of(value)}")
        try:
            parsed = json.loads(value)
        except ValueError as error:
            where = (
                f"line {error.lineno} column {error.colno}"
                if isinstance(error, json.JSONDecodeError)
                else "somewhere"
            )
            raise broken(f"must be a JSON object written as a text, but does not parse at {where}") from None
        if not isinstance(parsed, dict):
            raise broken("must be a JSON object written as a text, but is another JSON value")
        return value


def described(value: Any) -> str:
    """A wrong value in a message: short scalars as they are, the rest by kind. Not for secrets."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str() if len(value) <= 80:
            return repr(value)
        case _:
            return kind_of(value)


def kind_of(value: Any) -> str:
    """What a value is, without the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"

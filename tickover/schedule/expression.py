"""Reading schedule expressions: ``at(2026-06-09T10:00:00)`` and six-field ``cron(0 0 9 * * MON-FRI)``.

Owns: the grammar of FC's scheduleExpression. Promises: what FC refuses is refused, with the field, the
position and what is allowed. Never: knows zones or the time (see `firings`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from tickover.schedule.errors import ScheduleError

__all__ = ["At", "Cron", "Expression", "ScheduleError", "parse"]

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_SHAPE: Final = re.compile(r"\s*([A-Za-z]*)\s*\((.*)\)\s*", re.DOTALL)
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")


@dataclass(frozen=True, slots=True)
class _Field:
    """A cron field. specials: those of ``,-*/?`` that FC allows in it."""

    name: str
    low: int
    high: int
    specials: str
    names: tuple[str, ...] = ()

    def allowed(self) -> str:
        """The rule of the field in words."""
        numbers = f"{self.low} to {self.high}"
        if self.names:
            numbers += f" (or {self.names[0]} to {self.names[-1]})"
        special = f" and {' '.join(self.specials)}" if self.specials else ", without special characters"
        return f"{self.name} takes {numbers}{special}"


_FIELDS: Final = (
    _Field("seconds", 0, 59, ""),
    _Field("minutes", 0, 59, ",-*/"),
    _Field("hours", 0, 23, ",-*/"),
    _Field("day-of-month", 1, 31, ",-*?/"),
    _Field("month", 1, 12, ",-*/", _MONTHS),
    _Field("day-of-week", 1, 7, ",-*?", _DAYS),
)
_LONGEST_MONTH: Final[Mapping[int, int]] = MappingProxyType(
    {m: 29 if m == 2 else 30 if m in (4, 6, 9, 11) else 31 for m in range(1, 13)}
)


@dataclass(frozen=True, slots=True)
class At:
    """Fires once. moment: a local time of the zone it is used with."""

    moment: datetime

    def __str__(self) -> str:
        return f"at({self.moment.isoformat()})"


@dataclass(frozen=True, slots=True)
class Cron:
    """Fires whenever a clock reads a matching time. days_of_week: 1 is Monday.

    is_either_day: both day fields are restricted, so a day that matches one of them matches.
    """

    text: str
    second: int
    minutes: frozenset[int]
    hours: frozenset[int]
    days_of_month: frozenset[int]
    months: frozenset[int]
    days_of_week: frozenset[int]
    is_either_day: bool

    def __str__(self) -> str:
        return f"cron({self.text})"


Expression = At | Cron


def parse(expression: str) -> Expression:
    """The expression in a text. Raises ScheduleError."""
    shape = _SHAPE.fullmatch(expression)
    kind = shape[1] if shape else ""
    if shape is None or kind not in ("at", "cron"):
        raise ScheduleError(
            f"{expression!r} is neither at(yyyy-mm-ddThh:mm:ss) nor "
            "cron(seconds minutes hours day-of-month month day-of-week)."
        )
    read = _at if kind == "at" else _cron
    return read(shape[2], shape.start(2))


def _at(text: str, offset: int) -> At:
    moment = text.strip()
    at = offset + len(text) - len(text.lstrip())
    if _MOMENT.fullmatch(moment):
        try:
            return At(datetime.fromisoformat(moment))
        except ValueError as error:
            raise ScheduleError(f"{moment!r} is not a moment: {error}.", field="at", position=at) from error
    hint = "; leave out the zone, timeZone says it" if moment.endswith("Z") else ""
    raise ScheduleError(
        f"at(...) takes one moment, yyyy-mm-ddThh:mm:ss, but has {moment!r}{hint}.", field="at", position=at
    )


def _cron(given: str, offset: int) -> Cron:
    words = [(m[0], offset + m.start()) for m in re.finditer(r"\S+", given)]
    if len(words) != len(_FIELDS):
        names = " ".join(f.name for f in _FIELDS)
        hint = "; a five-field line needs the seconds in front, for example 0" if len(words) == 5 else ""
        raise ScheduleError(
            f"cron(...) takes six fields, {names}, but has {len(words)}{hint}.", field="cron", position=offset
        )
    sets = [_values(field, word, at) for field, (word, at) in zip(_FIELDS, words, strict=True)]
    dom, dow = words[3], words[5]
    if dom[0] == dow[0] == "?":
        raise ScheduleError(
            "day-of-month and day-of-week cannot both be ?; write * in one of them.",
            field="day-of-week",
            position=dow[1],
        )
    either = dom[0][0] not in "*?" and dow[0][0] not in "*?"
    if not either and min(sets[3]) > max(_LONGEST_MONTH[m] for m in sets[4]):
        raise ScheduleError(
            f"day-of-month {dom[0]} never comes in month {words[4][0]}.",
            field="day-of-month",
            position=dom[1],
        )
    seconds, minutes, hours, days, months, weekdays = sets
    text = " ".join(word for word, _ in words)
    return Cron(text, min(seconds), minutes, hours, days, months, weekdays, is_either_day=either)


def _values(field: _Field, word: str, at: int) -> frozenset[int]:
    """All values of a field, written as one word."""
    found: set[int] = set()
    position = at
    parts = word.split(",")
    for part in parts:
        if len(parts) > 1 and ("," not in field.specials or part == "?"):
            raise _bad(field, word, at)
        found.update(_range(field, part, position))
        position += len(part) + 1
    return frozenset(found)


def _range(field: _Field, part: str, at: int) -> Iterator[int]:
    """``*``, ``?``, ``n``, ``n-m``, each with ``/step`` behind it; ``n/m`` is from n to the end."""
    base, slash, step_text = part.partition("/")
    if base == "?" and not slash:
        _permitted(field, "?", part, at)
        low, high = field.low, field.high
    elif base == "*":
        _permitted(field, "*", part, at)
        low, high = field.low, field.high
    elif "-" in base:
        _permitted(field, "-", part, at)
        first, _, last = base.partition("-")
        low, high = _number(field, first, part, at), _number(field, last, part, at)
        if high < low:
            raise ScheduleError(
                f"{field.name} {part!r} runs backwards; write the lower value first.",
                field=field.name,
                position=at,
            )
    else:
        low = _number(field, base, part, at)
        high = field.high if slash else low
    if not slash:
        return iter(range(low, high + 1))
    _permitted(field, "/", part, at)
    if not step_text.isdecimal() or not step_text.isascii() or int(step_text) == 0:
        raise ScheduleError(
            f"{field.name} {part!r} has no step: behind / comes a whole number from 1.",
            field=field.name,
            position=at,
        )
    return iter(range(low, high + 1, int(step_text)))


def _number(field: _Field, word: str, part: str, at: int) -> int:
    if word in field.names:
        return field.names.index(word) + field.low
    if not word.isdecimal() or not word.isascii() or not field.low <= int(word) <= field.high:
        raise _bad(field, part, at)
    return int(word)


def _permitted(field: _Field, special: str, part: str, at: int) -> None:
    if special not in field.specials:
        raise _bad(field, part, at)


def _bad(field: _Field, part: str, at: int) -> ScheduleError:
    return ScheduleError(
        f"{field.name} cannot be {part!r}: {field.allowed()}.", field=field.name, position=at
    )

"""When an expression fires.

Owns: the way from an expression and a zone to instants. Promises: a cron expression fires at each instant
at which the zone's clock reads a matching time: a time that the clock skips does not fire, one that it
shows twice fires twice; an at(...) in a skipped hour fires as many minutes after the skip as it is into it.
All instants come out in UTC. Never: reads a clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from tickover.schedule.expression import At, Cron, Expression

_DAY: Final = timedelta(days=1)
# 29 February may be eight years away; on one weekday, up to forty.
_HORIZON: Final = timedelta(days=366 * 41)
_LAST_DAY: Final = date(9990, 1, 1)
_FIRST_DAY: Final = date(2, 1, 1)


def next_firing(expression: Expression, zone: tzinfo, after: datetime) -> datetime | None:
    """The first firing later than `after`, or None."""
    _aware(after)
    last = datetime.combine(_LAST_DAY, time(), UTC)
    if after >= last:
        return None
    return next(firings(expression, zone, after, after + min(_HORIZON, last - after)), None)


def last_firing(expression: Expression, zone: tzinfo, until: datetime) -> datetime | None:
    """The latest firing at or before `until`, or None."""
    _aware(until)
    if isinstance(expression, At):
        fires = _instant(expression.moment, zone)
        return fires if fires <= until else None
    day = until.astimezone(zone).date()
    for _ in range(_HORIZON.days):
        if day < _FIRST_DAY:
            return None
        if _matches(expression, day):
            instants = _instants(expression, zone, day)
            index = bisect_right(instants, until)
            if index:
                return instants[index - 1]
        day = _day_before(expression, day)
    return None


def firings(expression: Expression, zone: tzinfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """The firings later than `after`, up to and including `until`, in order."""
    _aware(after)
    if isinstance(expression, At):
        fires = _instant(expression.moment, zone)
        if after < fires <= until:
            yield fires
        return
    day, last = after.astimezone(zone).date(), until.astimezone(zone).date()
    while day <= last and day < _LAST_DAY:
        if _matches(expression, day):
            instants = _instants(expression, zone, day)
            for fires in instants[bisect_right(instants, after) :]:
                if fires > until:
                    return
                yield fires
        day = _day_after(expression, day)


def _matches(cron: Cron, day: date) -> bool:
    if day.month not in cron.months:
        return False
    by_month, by_week = day.day in cron.days_of_month, day.isoweekday() in cron.days_of_week
    return by_month or by_week if cron.is_either_day else by_month and by_week


def _day_after(cron: Cron, day: date) -> date:
    if day.month in cron.months:
        return day + _DAY
    return (day.replace(day=1) + 32 * _DAY).replace(day=1)


def _day_before(cron: Cron, day: date) -> date:
    return day - _DAY if day.month in cron.months else day.replace(day=1) - _DAY


@lru_cache(maxsize=256)
def _instants(cron: Cron, zone: tzinfo, day: date) -> tuple[datetime, ...]:
    """The firings of one local day, in order."""
    times = [time(h, m, cron.second) for h in sorted(cron.hours) for m in sorted(cron.minutes)]
    locals_ = [datetime.combine(day, t) for t in times]
    offset = _steady_offset(zone, day)
    if offset is not None:
        return tuple((local - offset).replace(tzinfo=UTC) for local in locals_)
    found: set[datetime] = set()
    for local in locals_:
        for fold in (0, 1):
            instant = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            if instant.astimezone(zone).replace(tzinfo=None) == local:  # else the clock never shows it
                found.add(instant)
    return tuple(sorted(found))


def _steady_offset(zone: tzinfo, day: date) -> timedelta | None:
    """The offset from UTC of a whole day, or None if it may change on that day or near it."""
    around = (
        datetime.combine(day + n * _DAY, time()).replace(tzinfo=zone).utcoffset() for n in (-1, 0, 1, 2)
    )
    offsets = set(around)
    return offsets.pop() if len(offsets) == 1 else None


def _instant(local: datetime, zone: tzinfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


def _aware(moment: datetime) -> None:
    if moment.utcoffset() is None:
        raise ValueError("a moment needs a zone; use an aware datetime")

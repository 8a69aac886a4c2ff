"""How many instances a timetable asks for.

Owns: the rule which scheduled action is in force. Promises: an action counts only inside its window, from
its start up to, and not including, its end; among all actions the one that fired last wins until another
fires, and of those that fired at the same instant the one with the most instances; before any firing, and
outside the windows, the default holds. Never: reads a clock or starts anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from tickover.schedule.errors import ScheduleError
from tickover.schedule.expression import Expression, parse
from tickover.schedule.firings import firings, last_firing, next_firing
from tickover.schedule.zone import parse_moment, parse_zone

_TICK: Final = timedelta(microseconds=1)
_MICROSECONDS: Final = 1_000_000
# Bounds the work for actions that always fire together with one of a larger target.
_INSTANTS_LOOKED_AT: Final = 2000


@dataclass(frozen=True, slots=True)
class Action:
    """A scheduled action, read. start, end: UTC; None leaves that side open."""

    expression: Expression
    target: int
    zone: tzinfo = UTC
    start: datetime | None = None
    end: datetime | None = None
    name: str = ""

    def is_effective(self, now: datetime) -> bool:
        """True inside the window."""
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


def parse_action(
    schedule_expression: str,
    target: int,
    *,
    start_time: str | None = None,
    end_time: str | None = None,
    time_zone: str | None = None,
    name: str = "",
) -> Action:
    """An action from the texts of FC's ScheduledAction. Raises ScheduleError."""
    zone = parse_zone(time_zone)
    start = parse_moment(start_time, zone, "startTime") if start_time else None
    end = parse_moment(end_time, zone, "endTime") if end_time else None
    if start and end and end <= start:
        raise ScheduleError(
            f"The window ends at {end_time}, not after its start {start_time}.", field="endTime"
        )
    return Action(parse(schedule_expression), target, zone, start, end, name)


def parse_actions(wire: Iterable[Mapping[str, Any]]) -> tuple[Action, ...]:
    """Actions from FC's scheduledActions, property names as on the wire. Raises ScheduleError."""
    return tuple(
        parse_action(
            str(action["scheduleExpression"]),
            int(action["target"]),
            start_time=action.get("startTime"),
            end_time=action.get("endTime"),
            time_zone=action.get("timeZone"),
            name=str(action.get("name", "")),
        )
        for action in wire
    )


def target_now(default_target: int, actions: Sequence[Action], now: datetime) -> int:
    """Instances that the timetable asks for at `now`."""
    fired: list[tuple[datetime, int]] = []
    for action in actions:
        if not action.is_effective(now):
            continue
        last = last_firing(action.expression, action.zone, now)
        if last is not None and (action.start is None or last >= action.start):
            fired.append((last, action.target))
    return max(fired)[1] if fired else default_target


def next_change(default_target: int, actions: Sequence[Action], now: datetime) -> datetime | None:
    """The first instant after `now` at which `target_now` gives another number, or None if it never will.

    If thousands of firings in a row change nothing, the instant of the last one: look again then.
    """
    current = target_now(default_target, actions, now)
    at = now
    for _ in range(_INSTANTS_LOOKED_AT):
        following = min((i for a in actions for i in _instants(a, at, current)), default=None)
        if following is None:
            return None
        at = following
        if target_now(default_target, actions, at) != current:
            return at
    return at


def _instants(action: Action, after: datetime, current: int) -> Iterator[datetime]:
    """What may end `current` next: an edge of the window, or a firing inside it for another target.

    A firing for the same target cannot: at its instant it is the one that fired last.
    """
    if action.end is not None:
        if action.end <= after:
            return
        yield action.end
    begin = after
    if action.start is not None and after < action.start:
        yield action.start
        begin = action.start - _TICK
    if action.target == current:
        return
    fires = next_firing(action.expression, action.zone, begin)
    if fires is not None and (action.end is None or fires < action.end):
        yield fires


def seconds_by_target(
    default_target: int, actions: Sequence[Action], start: datetime, end: datetime
) -> dict[int, Fraction]:
    """How many seconds of a period each target is in force; they add up to the period."""
    edges = {start, end}
    for action in actions:
        edges.update(e for e in (action.start, action.end) if e is not None and start < e < end)
        edges.update(firings(action.expression, action.zone, start, end))
    moments = sorted(edge.astimezone(UTC) for edge in edges)
    found: dict[int, Fraction] = {}
    for begin, until in pairwise(moments):
        target = target_now(default_target, actions, begin)
        found[target] = found.get(target, Fraction(0)) + _seconds(until - begin)
    return found


def hours_by_target(
    default_target: int, actions: Sequence[Action], start: datetime, end: datetime
) -> dict[int, Fraction]:
    """`seconds_by_target` in hours."""
    return {t: s / 3600 for t, s in seconds_by_target(default_target, actions, start, end).items()}


def _seconds(span: timedelta) -> Fraction:
    return Fraction(span // _TICK, _MICROSECONDS)

"""A pool's target over time: its provision config read as a timetable.

Owns: the bridge between FC's ProvisionConfig and `tickover.schedule`, in nanoseconds. Promises: functions
of (config, now). Never: reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tickover.fc.provision import ProvisionConfig
from tickover.schedule import (
    Action,
    ScheduleError,
    last_firing,
    next_change,
    next_firing,
    parse_action,
    parse_actions,
    target_now,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Timetable:
    """The target of one pool."""

    default_target: int
    actions: tuple[Action, ...]

    def target(self, now_ns: int) -> int:
        return target_now(self.default_target, self.actions, moment(now_ns))

    def next_change_ns(self, now_ns: int) -> int | None:
        """When the target may change next. A schedule firing in steps below a microsecond does not exist."""
        if not self.actions:
            return None
        found = next_change(self.default_target, self.actions, moment(now_ns))
        return None if found is None else nanoseconds(found)

    def expected(self, now_ns: int) -> Expected:
        """When it asks for instances around now: a firing (or the end of a window) that does not lower the
        target. Whoever is reserved then had better be awake."""
        now = moment(now_ns)
        past, coming = sorted(self._past(now)), sorted(self._coming(now))
        last = next((at for at in reversed(past) if self._asks(at)), None)
        following = next((at for at in coming if self._asks(at)), None)
        moments = tuple(nanoseconds(at) for at in (last, following) if at is not None)
        return Expected(moments, nanoseconds(coming[0]) if coming else None)

    def _past(self, now: datetime) -> Iterator[datetime]:
        for action in self.actions:
            if action.end is not None and action.end <= now:
                yield action.end
            fired = last_firing(action.expression, action.zone, now)
            if fired is not None and action.is_effective(fired):
                yield fired

    def _coming(self, now: datetime) -> Iterator[datetime]:
        for action in self.actions:
            if action.end is not None and action.end > now:
                yield action.end
            after = now if action.start is None else max(now, action.start - _MICROSECOND)
            fires = next_firing(action.expression, action.zone, after)
            if fires is not None and action.is_effective(fires):
                yield fires

    def _asks(self, at: datetime) -> bool:
        target = target_now(self.default_target, self.actions, at)
        return 0 < target >= target_now(self.default_target, self.actions, at - _MICROSECOND)


@dataclass(frozen=True, slots=True)
class Expected:
    """moments: the last and the next one, wall-clock nanoseconds. until_ns: they hold until then."""

    moments: tuple[int, ...]
    until_ns: int | None


def timetable(config: ProvisionConfig) -> Timetable:
    """The timetable of a provision config that was accepted."""
    wire = config.to_wire()
    return Timetable(config.reserved, parse_actions(wire.get("scheduledActions") or ()))


def nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND * 1000


def moment(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)


def schedule_problems(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What cannot be read in the scheduled actions, each with its property path."""
    problems: list[str] = []
    for index, action in enumerate(body.get("scheduledActions") or ()):
        try:
            parse_action(
                str(action["scheduleExpression"]),
                int(action["target"]),
                start_time=action.get("startTime"),
                end_time=action.get("endTime"),
                time_zone=action.get("timeZone"),
                name=str(action.get("name", "")),
            )
        except ScheduleError as err:
            name = err.field if err.field in ("startTime", "endTime", "timeZone") else "scheduleExpression"
            problems.append(f"scheduledActions[{index}].{name}: {err.message}")
    return tuple(problems)

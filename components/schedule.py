"""Schedule: a timetable of instances as a node of the graph.

Owns: turning timetable entries into FC's scheduledActions. Promises: every entry parses, all mistakes at
once; registered outputs do not depend on when the program runs. Never: reads the clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

import pulumi

from tickover.errors import ConfigError
from tickover.money import HOURS_PER_MONTH
from tickover.schedule import Action, ScheduleError, hours_by_target, next_firing, parse_action

# What a month means in the registered figure: four whole weeks, stretched. A fixed period, because an
# output that depended on today would be a change on every run.
_PERIOD_START: Final = datetime(2025, 9, 1, tzinfo=UTC)
_PERIOD: Final = timedelta(weeks=4)

_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {"timeZone": "time_zone", "startTime": "start", "endTime": "end"}
)
_WRAPPED: Final = re.compile(r"\s*(cron|at)\((.*)\)\s*")


@dataclass(frozen=True, slots=True)
class TimetableEntry:
    """From each firing on, `instances` are reserved.

    Exactly one of cron (six fields: second minute hour day month weekday) and at (``2026-12-24T08:00:00``),
    with or without FC's ``cron(…)`` and ``at(…)`` around it. start, end: the entry has no effect outside.
    All times are local times of time_zone (an IANA name), or UTC if it is empty.
    """

    instances: int
    cron: str = ""
    at: str = ""
    time_zone: str = ""
    start: str = ""
    end: str = ""
    name: str = ""

    @property
    def expression(self) -> str:
        """FC's scheduleExpression."""
        kind, text = ("at", self.at) if self.at else ("cron", self.cron)
        wrapped = _WRAPPED.fullmatch(text)
        return f"{kind}({wrapped.group(2) if wrapped else text.strip()})"

    def wire(self, default_name: str) -> dict[str, Any]:
        """FC's scheduledAction."""
        action = {
            "name": self.name or default_name,
            "target": self.instances,
            "scheduleExpression": self.expression,
            "timeZone": self.time_zone or None,
            "startTime": self.start or None,
            "endTime": self.end or None,
        }
        return {key: value for key, value in action.items() if value is not None}

    def parsed(self) -> Action:
        """The entry, read. Raises ScheduleError."""
        return parse_action(
            self.expression,
            self.instances,
            start_time=self.start or None,
            end_time=self.end or None,
            time_zone=self.time_zone or None,
            name=self.name,
        )


@dataclass(frozen=True, slots=True)
class ScheduleArgs:
    """default_instances: reserved before the first firing of all and outside every window."""

    entries: tuple[TimetableEntry, ...]
    default_instances: int = 0


class Schedule(pulumi.ComponentResource):
    """A timetable. wire_actions: FC's scheduledActions."""

    def __init__(self, name: str, args: ScheduleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _check(name, args)
        self.args = args
        self.wire_actions = [e.wire(f"{name}-{i}") for i, e in enumerate(args.entries, start=1)]
        declared = {"actions": self.wire_actions, "defaultInstances": args.default_instances}
        super().__init__("tickover:index:Schedule", name, declared, opts)
        self.register_outputs(declared | {"instanceHoursPerMonth": instance_hours_per_month(args)})

    def next_firings(self, now: datetime) -> dict[str, datetime]:
        """When each entry fires next, by its name; entries that never fire again are left out."""
        found: dict[str, datetime] = {}
        for wire, entry in zip(self.wire_actions, self.args.entries, strict=True):
            action = entry.parsed()
            fires = next_firing(action.expression, action.zone, max(now, action.start or now))
            if fires is not None and action.is_effective(fires):
                found[wire["name"]] = fires
        return found


def instance_hours_per_month(args: ScheduleArgs) -> float:
    """Reserved instance hours in a month of 720 h with every window open and every `at` in the past."""
    actions = [replace(e.parsed(), start=None, end=None) for e in args.entries]
    hours = hours_by_target(args.default_instances, actions, _PERIOD_START, _PERIOD_START + _PERIOD)
    reserved = sum((target * share for target, share in hours.items()), Fraction(0))
    return round(float(reserved * HOURS_PER_MONTH / (_PERIOD // timedelta(hours=1))), 2)


def entry_problems(entry: TimetableEntry) -> list[tuple[str, str]]:
    """(field, what is wrong with it) for each mistake of an entry."""
    if bool(entry.cron) == bool(entry.at):
        both = "`cron` and `at` cannot both be given" if entry.cron else "one of `cron` and `at` is required"
        return [("cron", both)]
    try:
        entry.parsed()
    except ScheduleError as error:
        return [(_FIELDS.get(error.field, "at" if entry.at else "cron"), error.message.rstrip("."))]
    return []


def _check(name: str, args: ScheduleArgs) -> None:
    found = [
        f"entries[{i}].{key}: {text}" for i, e in enumerate(args.entries) for key, text in entry_problems(e)
    ]
    if found:
        raise ConfigError(
            "bad-schedule", "Schedule is not valid", f"{name}: " + "; ".join(found) + ".", address=name
        )

"""Timetables: when an expression fires, and how many instances that makes now.

Owns: the reading of at(...) and cron(...) and the rule which action is in force. Promises: pure functions
of (actions, now); imports nothing of the rest of tickover. Never: reads a clock.
"""

from tickover.schedule.expression import At, Cron, Expression, ScheduleError, parse
from tickover.schedule.firings import firings, last_firing, next_firing
from tickover.schedule.timetable import (
    Action,
    hours_by_target,
    next_change,
    parse_action,
    parse_actions,
    seconds_by_target,
    target_now,
)
from tickover.schedule.zone import parse_moment, parse_zone

__all__ = [
    "Action",
    "At",
    "Cron",
    "Expression",
    "ScheduleError",
    "firings",
    "hours_by_target",
    "last_firing",
    "next_change",
    "next_firing",
    "parse",
    "parse_action",
    "parse_actions",
    "parse_moment",
    "parse_zone",
    "seconds_by_target",
    "target_now",
]

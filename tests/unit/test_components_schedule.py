"""Timetable entries and the figure that a schedule registers."""

from __future__ import annotations

import pytest

from components.schedule import ScheduleArgs, TimetableEntry, instance_hours_per_month


@pytest.mark.parametrize(
    ("entry", "expression"),
    [
        (TimetableEntry(1, cron="0 0 9 * * *"), "cron(0 0 9 * * *)"),
        (TimetableEntry(1, cron=" cron(0 0 9 * * *) "), "cron(0 0 9 * * *)"),
        (TimetableEntry(1, at="2026-12-24T08:00:00"), "at(2026-12-24T08:00:00)"),
        (TimetableEntry(1, at="at(2026-12-24T08:00:00)"), "at(2026-12-24T08:00:00)"),
    ],
)
def test_the_wrapper_may_be_left_out(entry: TimetableEntry, expression: str) -> None:
    assert entry.expression == expression
    assert entry.wire("n") == {"name": "n", "target": 1, "scheduleExpression": expression}


def hours(*entries: TimetableEntry, default: int = 0) -> float:
    return instance_hours_per_month(ScheduleArgs(entries, default))


def test_hours_of_a_month() -> None:
    assert hours(default=1) == 720
    morning = TimetableEntry(1, cron="0 0 9 * * MON-FRI", time_zone="Asia/Shanghai")
    evening = TimetableEntry(0, cron="0 0 19 * * MON-FRI", time_zone="Asia/Shanghai")
    assert hours(morning, evening) == round(720 * 50 / 168, 2)
    assert hours(TimetableEntry(2, cron="0 0 0 * * *"), TimetableEntry(1, cron="0 0 12 * * *")) == 720 * 1.5


def test_windows_do_not_change_the_figure() -> None:
    open_ = TimetableEntry(2, cron="0 0 0 * * *")
    closed = TimetableEntry(2, cron="0 0 0 * * *", start="2031-01-01T00:00:00", end="2031-01-02T00:00:00")
    assert hours(open_) == hours(closed) == 1440

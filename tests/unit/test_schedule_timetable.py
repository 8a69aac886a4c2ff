"""Which target is in force when: the documented example, windows, ties, changes, the integral."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.schedule import (
    Action,
    ScheduleError,
    hours_by_target,
    next_change,
    parse,
    parse_action,
    parse_actions,
    seconds_by_target,
    target_now,
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


WINDOW = {"start_time": "2026-06-09T10:00:00Z", "end_time": "2026-06-11T00:00:00Z"}
DOCUMENTED = (
    parse_action("cron(0 0 10 * * *)", 20, **WINDOW),
    parse_action("cron(0 0 22 * * *)", 10, **WINDOW),
)


@pytest.mark.parametrize(
    ("moment", "target"),
    [
        ("2026-06-09T09:59:59", 5),
        ("2026-06-09T10:00:00", 20),
        ("2026-06-09T21:59:59", 20),
        ("2026-06-09T22:00:00", 10),
        ("2026-06-10T09:59:59", 10),
        ("2026-06-10T10:00:00", 20),
        ("2026-06-10T22:00:00", 10),
        ("2026-06-10T23:59:59", 10),
        ("2026-06-11T00:00:00", 5),
        ("2026-06-12T11:00:00", 5),
    ],
)
def test_documented_example_targets(moment, target):
    assert target_now(5, DOCUMENTED, at(moment)) == target


def test_documented_example_changes_one_after_another():
    seen = []
    now: datetime | None = at("2026-06-01T00:00:00")
    while (now := next_change(5, DOCUMENTED, now)) is not None:
        seen.append((now.strftime("%d %H:%M"), target_now(5, DOCUMENTED, now)))
    assert seen == [("09 10:00", 20), ("09 22:00", 10), ("10 10:00", 20), ("10 22:00", 10), ("11 00:00", 5)]


def test_documented_example_as_wire_actions():
    wire = [
        {
            "name": "day",
            "scheduleExpression": "cron(0 0 10 * * *)",
            "target": 20,
            "startTime": WINDOW["start_time"],
        },
        {
            "name": "night",
            "scheduleExpression": "cron(0 0 22 * * *)",
            "target": 10,
            "endTime": WINDOW["end_time"],
        },
    ]
    actions = parse_actions(wire)
    assert [a.name for a in actions] == ["day", "night"]
    assert (
        target_now(5, actions, at("2026-06-08T12:00:00")) == 10
    )  # "day" not begun, "night" open at the start
    assert target_now(5, actions, at("2026-06-11T12:00:00")) == 20  # "night" over


def test_hours_add_up_for_the_documented_example():
    hours = hours_by_target(5, DOCUMENTED, at("2026-06-09T00:00:00"), at("2026-06-12T00:00:00"))
    assert hours == {5: 34, 20: 24, 10: 14}


def test_a_firing_before_the_window_does_not_count_inside_it():
    action = parse_action("at(2026-06-09T08:00:00)", 7, start_time="2026-06-09T09:00:00Z")
    assert target_now(1, [action], at("2026-06-09T10:00:00")) == 1
    assert next_change(1, [action], at("2026-06-09T08:30:00")) is None


def test_actions_that_fire_together_give_the_larger_target():
    actions = [parse_action("cron(0 0 9 * * *)", n) for n in (3, 8, 5)]
    assert target_now(0, actions, at("2026-06-09T09:00:00")) == 8


def test_the_later_firing_wins_though_it_is_smaller():
    actions = [parse_action("cron(0 0 9 * * *)", 8), parse_action("cron(0 30 9 * * *)", 2)]
    assert target_now(0, actions, at("2026-06-09T09:45:00")) == 2


def test_local_times_of_a_zone():
    action = parse_action(
        "cron(0 0 9 * * MON-FRI)",
        2,
        start_time="2026-06-08T00:00:00",
        end_time="2026-06-13T00:00:00",
        time_zone="Asia/Shanghai",
    )
    assert action.start == at("2026-06-07T16:00:00")
    assert target_now(0, [action], at("2026-06-08T00:59:59")) == 0
    assert target_now(0, [action], at("2026-06-08T01:00:00")) == 2  # 09:00 in Shanghai
    assert next_change(0, [action], at("2026-06-08T01:00:00")) == at("2026-06-12T16:00:00")


def test_a_firing_that_changes_nothing_is_no_change():
    minutely = parse_action("cron(0 * * * * *)", 2)
    daily = parse_action("cron(30 0 9 * * *)", 4)
    now = at("2026-06-09T10:00:00")
    assert next_change(0, [minutely, daily], now) == at("2026-06-10T09:00:30")


def test_an_action_in_force_for_good_never_changes():
    minutely = parse_action("cron(0 * * * * *)", 2)
    assert next_change(0, [minutely], at("2026-06-09T10:00:00")) is None


def test_a_rare_firing_is_found_behind_many_that_change_nothing():
    minutely = parse_action("cron(0 * * * * *)", 2)
    yearly = parse_action("cron(30 0 9 1 1 ?)", 4)
    assert next_change(0, [minutely, yearly], at("2026-06-09T10:00:00")) == at("2027-01-01T09:00:30")


def test_firings_that_always_lose_say_when_to_look_again():
    actions = [parse_action("cron(0 * * * * *)", n) for n in (2, 3)]
    now = at("2026-06-09T10:00:00")
    again = next_change(0, actions, now)
    assert again is not None and again > now + timedelta(days=1)
    assert target_now(0, actions, again) == 3


def test_no_actions_never_change():
    now = at("2026-06-09T10:00:00")
    assert target_now(3, [], now) == 3
    assert next_change(3, [], now) is None
    assert seconds_by_target(3, [], now, now + timedelta(hours=1)) == {3: 3600}


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({"time_zone": "Asia/Shangai"}, "timeZone"),
        ({"time_zone": "../etc/passwd"}, "timeZone"),
        ({"start_time": "2026-06-08"}, "startTime"),
        ({"start_time": "2026-06-31T00:00:00Z"}, "startTime"),
        ({"end_time": "2026-06-08T00:00:00Z", "time_zone": "Asia/Shanghai"}, "endTime"),
        ({"start_time": "2026-06-08T00:00:00Z", "end_time": "2026-06-08T00:00:00Z"}, "endTime"),
    ],
)
def test_bad_windows_name_their_field(args, field):
    with pytest.raises(ScheduleError) as caught:
        parse_action("cron(0 0 9 * * *)", 1, **args)
    assert caught.value.field == field


def test_a_misspelt_zone_gets_a_suggestion():
    with pytest.raises(ScheduleError, match="Did you mean Asia/Shanghai"):
        parse_action("cron(0 0 9 * * *)", 1, time_zone="Asia/Shangai")


@st.composite
def timetables(draw):
    hours = st.integers(0, 71)
    base = at("2026-06-09T00:00:00")
    actions = []
    for index in range(draw(st.integers(0, 4))):
        expression = f"cron(0 {draw(st.sampled_from(['0', '30', '*/20']))} {draw(st.integers(0, 23))} * * *)"
        start = draw(st.none() | hours)
        end = draw(st.none() | hours)
        actions.append(
            Action(
                parse(expression),
                index,
                start=None if start is None else base + timedelta(hours=start),
                end=None if end is None else base + timedelta(hours=end),
            )
        )
    return actions


@settings(max_examples=60, deadline=None)
@given(timetables())
def test_the_integral_equals_a_minute_by_minute_count(actions):
    start, end = at("2026-06-09T00:00:00"), at("2026-06-11T00:00:00")
    counted: dict[int, Fraction] = {}
    minutes = int((end - start) / timedelta(minutes=10))
    for n in range(minutes):
        target = target_now(9, actions, start + timedelta(minutes=10 * n))
        counted[target] = counted.get(target, Fraction(0)) + 600
    assert seconds_by_target(9, actions, start, end) == counted


@settings(max_examples=60, deadline=None)
@given(timetables(), st.integers(0, 48 * 6))
def test_nothing_changes_before_the_next_change(actions, offset):
    now = at("2026-06-09T00:00:00") + timedelta(minutes=10 * offset)
    change = next_change(9, actions, now)
    current = target_now(9, actions, now)
    if change is not None and change < now + timedelta(days=30):  # else actions that always fire together
        assert target_now(9, actions, change) != current
    stop = min(change or now + timedelta(days=2), now + timedelta(days=2))
    moment = now
    while moment < stop:
        assert target_now(9, actions, moment) == current
        moment += timedelta(minutes=10)

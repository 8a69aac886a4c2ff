"""Awake before a schedule asks: which moments count, and what is done around them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.host_core import an_instance, function, pool_of
from tickover.fc.provision import ProvisionConfig
from tickover.host.clock import SECOND_NS
from tickover.host.instance import PoolSettings
from tickover.host.model import InstanceState as S
from tickover.host.scheduler import decide
from tickover.host.targets import nanoseconds, timetable

SETTINGS = PoolSettings()
AHEAD, LINGER = 30, 2
SPEC = function(env={"TICKOVER_WAKE_AHEAD_SECONDS": str(AHEAD)})
WALL, MONO = 1_700_000_000 * SECOND_NS, 5_000 * SECOND_NS


def decided(state, expected_in, *, spec=SPEC, idle=True, empty=0):
    """What is due for one instance; expected_in: seconds from now to what is expected."""
    pool = pool_of(spec, idle=idle, expected=tuple(WALL + round(s * SECOND_NS) for s in expected_in))
    instance = replace(an_instance(state, idle=idle), spec=spec, empty_mono_ns=empty)
    return decide([pool], [instance], {}, MONO, SETTINGS, wall_ns=WALL)


def due_in(decision):
    return None if decision.next_ns is None else (decision.next_ns - MONO) / SECOND_NS


@pytest.mark.parametrize(
    ("expected_in", "woken", "next_look"),
    [
        ((), False, None),
        ((AHEAD + 5,), False, 5),
        ((AHEAD,), True, AHEAD + LINGER),
        ((1,), True, 1 + LINGER),
        ((0,), True, LINGER),
        ((-LINGER + 0.5,), True, 0.5),
        ((-LINGER,), False, None),
        ((-LINGER, AHEAD + 9), False, 9),
        ((-60, 3), True, 3 + LINGER),
    ],
)
def test_idle_instances_are_woken_ahead_and_held_until_they_have_lingered(expected_in, woken, next_look):
    decision = decided(S.IDLE, expected_in)
    assert decision.to_text() == ("wake_asked i-1" if woken else "")
    assert due_in(decision) == next_look


@pytest.mark.parametrize(
    ("expected_in", "goes"), [((AHEAD + 1,), True), ((1,), False), ((-1,), False), ((-3,), True)]
)
def test_an_empty_instance_does_not_go_idle_just_before_it_is_wanted(expected_in, goes):
    assert decided(S.READY, expected_in).to_text() == ("lingered i-1" if goes else "")


def test_its_own_linger_time_counts():
    spec = function(env={"TICKOVER_WAKE_AHEAD_SECONDS": "30", "TICKOVER_LINGER_SECONDS": "10"})
    assert decided(S.IDLE, (-9,), spec=spec).to_text() == "wake_asked i-1"
    assert decided(S.IDLE, (-10,), spec=spec).to_text() == ""


@pytest.mark.parametrize("state", [S.BUSY, S.WAKING, S.SUSPENDING, S.STARTING, S.DRAINING, S.FAILED])
def test_nobody_else_is_told_anything(state):
    assert "wake" not in decided(state, (1,)).to_text()


def test_without_the_setting_or_the_idle_switch_nobody_is_woken():
    assert decided(S.IDLE, (1,), spec=function()).to_text() == ""
    assert decided(S.IDLE, (1,), idle=False).to_text() == ""


def test_one_that_had_to_give_its_place_away_is_not_woken_for_the_same_moment_again():
    pool = pool_of(SPEC, expected=(WALL + 10 * SECOND_NS,))
    begin = MONO - (AHEAD - 10) * SECOND_NS
    for woken, again in ((0, True), (begin - 1, True), (begin, False), (MONO, False)):
        instance = replace(an_instance(S.IDLE), spec=SPEC, wake_mono_ns=woken)
        decision = decide([pool], [instance], {}, MONO, SETTINGS, wall_ns=WALL)
        assert decision.to_text() == ("wake_asked i-1" if again else "")


def test_one_that_goes_anyway_is_not_woken():
    pool = pool_of(SPEC, target=1, expected=(WALL + SECOND_NS,))
    both = [replace(an_instance(S.IDLE, name=f"i-{n}", empty=n), spec=SPEC) for n in (1, 2)]
    decision = decide([pool], both, {}, MONO, SETTINGS, wall_ns=WALL)
    assert decision.to_text() == "retired i-1: the pool has shrunk\nwake_asked i-2"


# -- which moments a timetable asks for ----------------------------------------------------------------------


def expected(actions, now, default=1):
    wire = [
        {"name": str(n), "scheduleExpression": e, "target": t, **more}
        for n, (e, t, more) in enumerate(actions)
    ]
    config = ProvisionConfig.model_validate(
        {"functionName": "f", "qualifier": "live", "defaultTarget": default, "scheduledActions": wire}
    )
    return timetable(config).expected(at(now))


def at(text):
    return nanoseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


DAY = (("cron(0 0 9 * * *)", 3, {}), ("cron(0 0 19 * * *)", 1, {}))


def test_a_pool_without_a_timetable_expects_nothing():
    assert (expected((), "2026-03-02T08:00:00").moments, expected((), "2026-03-02T08:00:00").until_ns) == (
        (),
        None,
    )


@pytest.mark.parametrize(
    ("now", "moments", "until"),
    [
        ("2026-03-02T08:00:00", ("2026-03-01T09:00:00", "2026-03-02T09:00:00"), "2026-03-02T09:00:00"),
        ("2026-03-02T09:00:00", ("2026-03-02T09:00:00", "2026-03-03T09:00:00"), "2026-03-02T19:00:00"),
        ("2026-03-02T20:00:00", ("2026-03-02T09:00:00", "2026-03-03T09:00:00"), "2026-03-03T09:00:00"),
    ],
)
def test_what_raises_the_target_is_expected_and_what_lowers_it_is_not(now, moments, until):
    found = expected(DAY, now)
    assert found.moments == tuple(map(at, moments))
    assert found.until_ns == at(until)


def test_an_action_that_keeps_the_target_is_expected():
    found = expected((("cron(0 0 9 * * *)", 1, {}),), "2026-03-02T08:00:00")
    assert found.moments[-1] == at("2026-03-02T09:00:00")


def test_an_action_for_no_instance_is_not():
    assert expected((("cron(0 0 9 * * *)", 0, {}),), "2026-03-02T08:00:00", default=0).moments == ()


def test_the_end_of_a_window_counts_where_more_are_wanted_after_it():
    window = {"startTime": "2026-03-01T00:00:00Z", "endTime": "2026-03-02T12:00:00Z"}
    night = (("cron(0 0 1 * * *)", 1, window),)
    found = expected(night, "2026-03-02T11:00:00", default=2)
    fired, end = at("2026-03-02T01:00:00"), at("2026-03-02T12:00:00")
    assert (found.moments, found.until_ns) == ((fired, end), end)
    assert expected(night, "2026-03-02T11:00:00", default=0).moments == (fired,)
    assert expected(night, "2026-03-02T12:00:00", default=2).moments == (at("2026-03-02T12:00:00"),)


def test_a_window_that_has_not_begun_is_looked_into():
    window = {"startTime": "2026-04-01T00:00:00Z"}
    found = expected((("cron(0 0 9 * * *)", 2, window),), "2026-03-02T08:00:00")
    assert found.moments == (at("2026-04-01T09:00:00"),)

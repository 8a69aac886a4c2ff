"""The life of an instance: every (state, event) pair, and what each state costs."""

from itertools import product
from pathlib import Path

import pytest

from tickover.host.diagram import diagram, placed
from tickover.host.model import BillingClass, InstanceState, PreStop
from tickover.host.states import (
    BILLED,
    ENDING,
    IGNORED,
    LIVING,
    SERVING,
    STARTING,
    TABLE,
    UP,
    Effect,
    Event,
    IllegalEvent,
    billing_class,
    step,
)

PAIRS = list(product(InstanceState, Event))
ROWS = [(state, event) for state in TABLE for event in TABLE[state]]


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.value)
def test_every_pair_moves_or_is_ignored_or_is_refused(state, event):
    is_move = event in TABLE[state]
    is_ignored = event in IGNORED.get(state, ())
    assert not (is_move and is_ignored)
    if is_move:
        assert step(state, event) == TABLE[state][event]
    elif is_ignored:
        assert step(state, event) is None
    else:
        with pytest.raises(IllegalEvent, match="This is a bug in tickover"):
            step(state, event)


def test_the_tables_have_every_state():
    assert set(TABLE) == set(BILLED) == set(InstanceState)
    assert set(InstanceState) == LIVING | ENDING
    assert not LIVING & ENDING
    assert SERVING | STARTING | UP == LIVING
    assert not STARTING & UP


@pytest.mark.parametrize(("state", "event"), ROWS, ids=lambda value: value.value)
def test_every_move_leads_towards_an_end(state, event):
    reached = {TABLE[state][event].state}
    while True:
        more = {move.state for s in reached for move in TABLE[s].values()} | reached
        if more == reached:
            break
        reached = more
    assert InstanceState.FAILED in reached or InstanceState.STOPPED in reached


@pytest.mark.parametrize("state", sorted(LIVING, key=lambda s: s.value), ids=lambda s: s.value)
@pytest.mark.parametrize(
    ("event", "effect"),
    [(Event.FAULTED, Effect.KILL), (Event.EXITED, Effect.KILL)],
    ids=["faulted", "exited"],
)
def test_a_living_instance_that_fails_is_ended_wherever_it_is(state, event, effect):
    move = step(state, event)
    assert move is not None
    assert (move.state, move.effect) == (InstanceState.FAILED, effect)


@pytest.mark.parametrize("state", sorted(LIVING, key=lambda s: s.value), ids=lambda s: s.value)
def test_only_a_busy_instance_drains(state):
    move = step(state, Event.RETIRED)
    assert move is not None
    expected = InstanceState.DRAINING if state is InstanceState.BUSY else InstanceState.STOPPING
    assert move.state is expected


def test_an_instance_is_forgotten_once_nothing_of_it_is_left():
    assert [s for s in TABLE for m in TABLE[s].values() if m.effect is Effect.FORGET] == [
        InstanceState.STOPPING,
        InstanceState.FAILED,
    ]


@pytest.mark.parametrize(
    ("state", "idle_on", "idle_off"),
    [
        (InstanceState.CREATING, None, None),
        (InstanceState.STARTING, BillingClass.STARTING, BillingClass.STARTING),
        (InstanceState.WARMING, BillingClass.STARTING, BillingClass.STARTING),
        (InstanceState.READY, BillingClass.IDLE, BillingClass.BUSY),
        (InstanceState.BUSY, BillingClass.BUSY, BillingClass.BUSY),
        (InstanceState.SUSPENDING, BillingClass.IDLE, BillingClass.BUSY),
        (InstanceState.IDLE, BillingClass.IDLE, BillingClass.BUSY),
        (InstanceState.WAKING, BillingClass.IDLE, BillingClass.BUSY),
        (InstanceState.DRAINING, BillingClass.BUSY, BillingClass.BUSY),
        (InstanceState.STOPPING, None, None),
        (InstanceState.STOPPED, None, None),
        (InstanceState.FAILED, None, None),
    ],
    ids=lambda value: value.value if isinstance(value, InstanceState) else None,
)
def test_what_a_state_is_billed_as(state, idle_on, idle_off):
    assert billing_class(state, idle_enabled=True) is idle_on
    assert billing_class(state, idle_enabled=False) is idle_off


@pytest.mark.parametrize("idle_on", [True, False])
def test_what_one_that_stops_is_billed_as_by_its_hook(idle_on):
    def billed(state, pre_stop):
        return billing_class(state, idle_enabled=idle_on, pre_stop=pre_stop)

    waiting = BillingClass.IDLE if idle_on else BillingClass.BUSY
    assert billed(InstanceState.STOPPING, PreStop.AHEAD) is waiting
    assert billed(InstanceState.STOPPING, PreStop.CALLED) is BillingClass.BUSY
    assert billed(InstanceState.STOPPING, PreStop.OVER) is None
    for state in set(InstanceState) - {InstanceState.STOPPING}:
        assert {billed(state, each) for each in PreStop} == {billing_class(state, idle_enabled=idle_on)}


def test_the_drawing_in_the_documentation_is_that_of_the_table():
    text = (Path(__file__).parents[2] / "docs/host.md").read_text()
    assert placed(text) == text
    arrows = [line for line in diagram().splitlines() if "-->" in line]
    assert len(arrows) == 1 + len({(state, move.state) for state in TABLE for move in TABLE[state].values()})

"""What the scheduler wants done, as text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.host_core import an_instance, function, pool_of
from tickover.host.clock import SECOND_NS
from tickover.host.instance import Crashes, PoolKey, PoolSettings, drain_ns, linger_ns
from tickover.host.model import InstanceState as S
from tickover.host.scheduler import Start, Tell, after_crash, backoff_ns, decide
from tickover.host.states import ENDING, LIVING, UP, Event

KEY = PoolKey("chat-dev", "live")
SETTINGS = PoolSettings()


def decided(pools, instances, now=0, crashes=None, settings=SETTINGS, wall=0):
    return decide(pools, instances, crashes or {}, now, settings, wall_ns=wall)


def test_a_pool_below_its_target_starts_what_is_missing():
    decision = decided([pool_of(target=3)], [an_instance(S.READY, idle=False)])
    assert decision.to_text() == "start chat-dev.live revision r1\nstart chat-dev.live revision r1"
    assert decision.next_ns is None


def test_no_more_starts_at_a_time_than_the_host_takes():
    starting = [an_instance(S.STARTING, name=f"i-{n}") for n in range(3)]
    decision = decided([pool_of(target=10)], starting)
    assert decision.to_text() == "start chat-dev.live revision r1"


def test_a_pool_at_its_target_is_left_alone():
    assert decided([pool_of()], [an_instance(S.BUSY, in_flight=1)]).effects == ()


def test_the_old_revision_serves_until_the_new_one_is_up():
    old = an_instance(S.BUSY, name="i-old", revision="r0", in_flight=1)
    pool = pool_of(revision="r1")
    assert decided([pool], [old]).to_text() == "start chat-dev.live revision r1"
    for state in (S.CREATING, S.STARTING, S.WARMING):
        assert decided([pool], [old, an_instance(state, name="i-new")]).effects == ()
    up = decided([pool], [old, an_instance(S.READY, name="i-new", empty=0)])
    assert up.to_text() == "retired i-old: a new revision has taken over"


def test_all_of_the_new_revision_have_to_be_up():
    pool = pool_of(target=2)
    old = [an_instance(S.READY, name=f"i-old{n}", revision="r0", idle=False) for n in range(2)]
    one = [an_instance(S.IDLE, name="i-new1"), an_instance(S.STARTING, name="i-new2")]
    assert decided([pool], [*old, *one]).effects == ()
    both = [an_instance(S.IDLE, name="i-new1"), an_instance(S.READY, name="i-new2", idle=False)]
    retired = [e.instance_id for e in decided([pool], [*old, *both]).effects]
    assert retired == ["i-old0", "i-old1"]


def test_a_pool_shrinks_by_its_idle_instances_first():
    there = [
        an_instance(S.BUSY, name="i-busy2", in_flight=2),
        an_instance(S.BUSY, name="i-busy1", in_flight=1),
        an_instance(S.READY, name="i-ready", idle=False),
        an_instance(S.IDLE, name="i-idle-new", empty=20),
        an_instance(S.IDLE, name="i-idle-old", empty=10),
        an_instance(S.STARTING, name="i-starting"),
    ]
    order = []
    for target in range(5, -1, -1):
        effects = decided([pool_of(target=target)], there).effects
        order.append([e.instance_id for e in effects if isinstance(e, Tell)])
    assert order[-1] == ["i-starting", "i-idle-old", "i-idle-new", "i-ready", "i-busy1", "i-busy2"]
    assert all(shorter == longer[:-1] for shorter, longer in pairwise(order))


def test_instances_of_a_pool_that_is_gone_are_retired():
    decision = decided([], [an_instance(S.BUSY, in_flight=1), an_instance(S.DRAINING, name="i-2", empty=5)])
    assert decision.to_text() == "retired i-1: its pool is no longer declared"


def test_an_empty_instance_lingers_before_it_is_suspended():
    ready = an_instance(S.READY, empty=100)
    due = 100 + 2 * SECOND_NS
    assert decided([pool_of()], [ready], now=due - 1).effects == ()
    assert decided([pool_of()], [ready], now=due - 1).next_ns == due
    assert decided([pool_of()], [ready], now=due).to_text() == "lingered i-1"


def test_without_the_idle_switch_nothing_is_suspended():
    ready = an_instance(S.READY, idle=False)
    decision = decided([pool_of(idle=False)], [ready], now=10**15)
    assert (decision.effects, decision.next_ns) == ((), None)


@pytest.mark.parametrize(
    ("given_value", "seconds"),
    [("0", 0), ("7.5", 7.5), ("", 2), ("soon", 2), ("-1", 2), ("nan", 2), ("inf", 2), ("1e9", 2)],
)
def test_linger_by_variable(given_value, seconds):
    spec = function(env={"TICKOVER_LINGER_SECONDS": given_value})
    assert linger_ns(spec, SETTINGS) == seconds * SECOND_NS


def test_a_retired_instance_ends_when_its_requests_take_too_long():
    draining = an_instance(S.DRAINING, in_flight=1)
    draining.drain_mono_ns = 5
    due = 5 + drain_ns(draining.spec, SETTINGS)
    assert due == 5 + 60 * SECOND_NS  # the function's timeout
    assert decided([], [draining], now=due - 1).next_ns == due
    assert decided([], [draining], now=due).to_text() == "drained i-1: its last requests took too long"


@pytest.mark.parametrize(
    ("timeout", "said", "seconds"),
    [(60, "", 60), (86_400, "", 86_400), (86_400, "90", 90), (60, "90", 60), (86_400, "0", 0)],
)
def test_a_drain_lasts_as_long_as_a_request_may_or_as_its_function_says(timeout, said, seconds):
    spec = function(timeout=timeout, env={"TICKOVER_DRAIN_SECONDS": said})
    assert drain_ns(spec, PoolSettings()) == seconds * SECOND_NS


def test_backoff_doubles_up_to_a_bound():
    seconds = [backoff_ns(n, SETTINGS) / SECOND_NS for n in (0, 1, 2, 3, 4, 5, 9, 500)]
    assert seconds == [0, 0, 1, 2, 4, 8, 60, 60]


def test_a_crashing_revision_waits_and_then_tries_one():
    crashes = {(KEY, "r1"): Crashes(3, 100, "why", True)}
    due = 100 + 2 * SECOND_NS
    waiting = decided([pool_of(target=3)], [], now=due - 1, crashes=crashes)
    assert (waiting.effects, waiting.next_ns) == ((), due)
    assert decided([pool_of(target=3)], [], now=due, crashes=crashes).effects == (Start(pool_of(target=3)),)
    other = {(KEY, "r0"): Crashes(9, 100, "why", True)}
    assert len(decided([pool_of(target=3)], [], now=100, crashes=other).effects) == 3


def test_failures_in_a_row_are_counted_until_one_stays_up():
    failed = an_instance(S.FAILED)
    failed.reason = "the reason"
    first = after_crash(None, failed, 50, SETTINGS)
    assert first == Crashes(1, 50, "the reason", True)
    failed.ready_mono_ns = 60
    second = after_crash(first, failed, 70, SETTINGS)
    assert second == Crashes(2, 70, "the reason", False)
    assert after_crash(second, failed, 60 + 60 * SECOND_NS, SETTINGS).count == 1


STATES = st.sampled_from(list(S))
INSTANCES = st.lists(st.tuples(STATES, st.sampled_from(["r0", "r1"]), st.integers(0, 3)), max_size=8)


@given(INSTANCES, st.integers(0, 5), st.integers(0, 10**10))
def test_whatever_is_there_the_effects_make_sense(found, target, now):
    there = [
        an_instance(state, name=f"i-{n}", revision=revision, in_flight=flight if state is S.BUSY else 0)
        for n, (state, revision, flight) in enumerate(found)
    ]
    effects = decided([pool_of(target=target)], there, now=now).effects
    by_id = {i.instance_id: i for i in there}
    retired = [by_id[e.instance_id] for e in effects if isinstance(e, Tell) and e.event is Event.RETIRED]
    assert len({i.instance_id for i in retired}) == len(retired)
    assert not any(i.state in ENDING for i in retired)
    new = [i for i in there if i.state in LIVING and i.revision == "r1"]
    starts = sum(isinstance(e, Start) for e in effects)
    assert starts + len(new) <= max(target, len(new))
    left = [i for i in there if i.state in LIVING and i not in retired]
    up_before = sum(i.state in UP for i in there)
    assert sum(i.state in UP for i in left) >= min(up_before, target), "a pool never drops below its target"
    assert decided([pool_of(target=target)], reversed(there), now=now).effects == effects

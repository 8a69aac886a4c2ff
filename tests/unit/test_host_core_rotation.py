"""Instances that have reached their greatest age are replaced one at a time, the new one first."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.host_core import an_instance, function, pool_of, states
from tests.support.host_core_bench import run_on_bench
from tickover.host.clock import SECOND_NS
from tickover.host.instance import Crashes, PoolKey, PoolSettings
from tickover.host.model import InstanceState as S
from tickover.host.scheduler import Start, Tell, decide, in_the_way
from tickover.host.states import LIVING, UP, Event

AGE = 3600
SPEC = function(env={"TICKOVER_MAX_AGE_SECONDS": str(AGE)})
NOW = 10 * AGE * SECOND_NS
OLD, YOUNG = NOW - AGE * SECOND_NS, NOW - AGE * SECOND_NS + 1
GONE = "it has reached its greatest age and was replaced"


def one(state, name="i-1", created=OLD, **more):
    in_flight = 1 if state is S.BUSY else 0
    made = an_instance(state, name=name, created=created, in_flight=in_flight, empty=NOW, **more)
    return replace(made, spec=SPEC)


def decided(*there, target=1, crashes=None, spec=SPEC):
    return decide([pool_of(spec, target=target)], there, crashes or {}, NOW, PoolSettings(), wall_ns=0)


@pytest.fixture
def on_bench(tmp_path, monkeypatch):
    return lambda scenario, *pools: run_on_bench(tmp_path, monkeypatch, scenario, pools)


START = "start chat-dev.live revision r1"


@pytest.mark.parametrize("state", [S.READY, S.IDLE])
def test_an_empty_old_one_gets_a_replacement_which_is_awaited(state):
    assert decided(one(state)).to_text() == START
    for coming in (S.CREATING, S.STARTING, S.WARMING):
        assert decided(one(state), one(coming, "i-2", NOW)).to_text() == ""
    for up in (S.READY, S.IDLE, S.BUSY):
        assert decided(one(state), one(up, "i-2", NOW)).to_text() == f"retired i-1: {GONE}"


def test_nothing_happens_before_its_time_and_the_time_is_known():
    decision = decided(one(S.IDLE, created=YOUNG))
    assert (decision.to_text(), decision.next_ns) == ("", NOW + 1)
    assert decided(one(S.IDLE), spec=function()).to_text() == ""


@pytest.mark.parametrize("state", [S.BUSY, S.WAKING, S.SUSPENDING])
def test_one_that_is_at_work_is_left_alone(state):
    assert decided(one(state)).to_text() == ""


def test_one_that_has_become_busy_meanwhile_takes_no_more_and_finishes_what_it_has():
    assert decided(one(S.BUSY), one(S.READY, "i-2", NOW)).to_text() == f"retired i-1: {GONE}"


def test_of_several_only_one_is_replaced_at_a_time():
    three = [one(S.IDLE, f"i-{n}") for n in range(3)]
    assert decided(*three, target=3).to_text() == START
    coming = one(S.STARTING, "i-new", NOW)
    assert decided(*three, coming, target=3).to_text() == ""
    assert decided(*three, replace(coming, state=S.READY), target=3).to_text() == f"retired i-0: {GONE}"
    left = [*three[1:], replace(coming, state=S.READY)]
    for ending in (S.DRAINING, S.STOPPING):
        goes = replace(three[0], state=ending, in_flight=1, drain_mono_ns=NOW)
        assert decided(goes, *left, target=3).to_text() == ""
    assert decided(*left, target=3).to_text() == START


def test_a_pool_in_motion_is_not_rotated():
    new_revision = [one(S.IDLE, "i-1", revision="r0")]
    assert decided(*new_revision).to_text() == START  # the new revision itself, and only that
    assert decided(*new_revision, one(S.STARTING, "i-2", NOW)).to_text() == ""
    assert decided(one(S.IDLE), one(S.STARTING, "i-2", NOW), target=2).to_text() == ""
    grows = decided(one(S.IDLE), target=3)
    assert grows.to_text() == f"{START}\n{START}"


def test_a_pool_that_shrinks_lets_the_old_one_go():
    assert decided(one(S.IDLE), one(S.IDLE, "i-2", NOW)).to_text() == f"retired i-1: {GONE}"
    shrinks = decided(one(S.IDLE), one(S.IDLE, "i-2", NOW), target=0).to_text()
    assert shrinks.count("the pool has shrunk") == 2


def test_a_replacement_that_fails_is_tried_again_later_and_the_old_one_serves():
    key = PoolKey("chat-dev", "live")
    crashes = {(key, "r1"): Crashes(3, NOW, "why", True)}
    waiting = decided(one(S.IDLE), crashes=crashes)
    assert (waiting.to_text(), waiting.next_ns) == ("", NOW + 2 * SECOND_NS)


def test_where_there_is_no_room_for_both_the_replacement_may_end_the_old_one_first():
    pool = pool_of(SPEC, target=2)
    old, young, busy = one(S.IDLE, "i-old"), one(S.IDLE, "i-young", NOW), one(S.BUSY, "i-busy")
    starting = one(S.CREATING, "i-new", NOW)

    def ended(*there, pool=pool, starting=starting):
        return [i.instance_id for i in in_the_way(pool, [*there, starting], starting, NOW)]

    assert ended(old, young) == ["i-old"]
    assert ended(busy, young) == []
    assert ended(old) == [], "it is no replacement: the pool wants both"
    former = replace(young, revision="r0")
    assert ended(old, former) == ["i-young"], "former revisions first"
    late = replace(starting, revision="r0")
    assert ended(late, pool=pool_of(SPEC, target=0), starting=late) == []


INSTANCES = st.lists(
    st.tuples(st.sampled_from(list(S)), st.sampled_from(["r0", "r1"]), st.booleans()), max_size=6
)


@given(INSTANCES, st.integers(0, 4))
def test_a_rotation_never_takes_a_pool_below_its_target_nor_far_above(found, target):
    there = [
        one(state, f"i-{n}", OLD if is_old else NOW, revision=revision)
        for n, (state, revision, is_old) in enumerate(found)
    ]
    effects = decided(*there, target=target).effects
    retired = {e.instance_id for e in effects if isinstance(e, Tell) and e.event is Event.RETIRED}
    starts = sum(isinstance(e, Start) for e in effects)
    up = sum(i.state in UP for i in there)
    assert sum(i.state in UP and i.instance_id not in retired for i in there) >= min(up, target)
    new = sum(i.state in LIVING and i.revision == "r1" for i in there)
    assert new + starts <= max(target + 1, new)
    assert decided(*reversed(there), target=target).effects == effects


def test_a_pool_renews_itself_without_a_gap(on_bench):
    async def scenario(bench):
        first = {view.instance_id for view in bench.pool.instances()}
        await bench.clock.advance(AGE - 1)
        assert {view.instance_id for view in bench.pool.instances()} == first
        assert states(bench.pool) == ["idle", "idle"]
        bench.healthy.start.clear()
        await bench.clock.advance(1)
        assert sorted(states(bench.pool)) == ["idle", "idle", "starting"]
        bench.healthy.start.set()
        await bench.clock.advance(10)
        second = {view.instance_id for view in bench.pool.instances()}
        assert not first & second and states(bench.pool) == ["idle", "idle"]
        await bench.clock.advance(AGE)
        assert not second & {view.instance_id for view in bench.pool.instances()}

    on_bench(scenario, pool_of(SPEC, target=2))

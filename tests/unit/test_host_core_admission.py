"""Who serves, who waits, who is refused."""

import pytest

from tests.support.host_core import an_instance, function, pool_of
from tickover.host.admission import pick, queue_limit, refusal, to_wake
from tickover.host.instance import Crashes, PoolKey, PoolSettings
from tickover.host.model import InstanceState as S

KEY = PoolKey("chat-dev", "live")
SETTINGS = PoolSettings()


def test_the_least_loaded_instance_with_room_serves():
    there = [
        an_instance(S.BUSY, name="i-full", in_flight=4, concurrency=4),
        an_instance(S.BUSY, name="i-two", in_flight=2, concurrency=4),
        an_instance(S.BUSY, name="i-one", in_flight=1, concurrency=4),
        an_instance(S.IDLE, name="i-idle"),
    ]
    assert pick(there, "r1").instance_id == "i-one"


@pytest.mark.parametrize("state", [s for s in S if s not in (S.READY, S.BUSY)], ids=lambda s: s.value)
def test_who_is_not_up_and_awake_serves_nobody(state):
    assert pick([an_instance(state)], "r1") is None


def test_the_wanted_revision_is_preferred_while_it_has_room():
    old = an_instance(S.READY, name="i-old", revision="r0")
    new = an_instance(S.BUSY, name="i-new", in_flight=1)
    assert pick([old, new], "r1").instance_id == "i-new"
    new.in_flight = 2
    assert pick([old, new], "r1").instance_id == "i-old"


@pytest.mark.parametrize(
    ("waiting", "woken"), [(0, []), (1, ["i-b"]), (2, ["i-b"]), (3, ["i-b", "i-a"]), (9, ["i-b", "i-a"])]
)
def test_as_many_wake_as_are_needed_the_last_used_first(waiting, woken):
    there = [an_instance(S.IDLE, name="i-a", empty=10), an_instance(S.IDLE, name="i-b", empty=20)]
    assert [i.instance_id for i in to_wake(there, "r1", waiting)] == woken


def test_who_is_waking_already_counts():
    there = [an_instance(S.WAKING, name="i-a"), an_instance(S.IDLE, name="i-b")]
    assert to_wake(there, "r1", 2) == []
    assert [i.instance_id for i in to_wake(there, "r1", 3)] == ["i-b"]


def test_the_queue_is_bounded_by_what_the_pool_serves_at_a_time():
    assert queue_limit(pool_of(), [], SETTINGS) == 8
    pool = pool_of(function(concurrency=20), target=2)
    assert queue_limit(pool, [], SETTINGS) == 40
    assert queue_limit(pool, [an_instance(S.IDLE, name=f"i-{n}") for n in range(3)], SETTINGS) == 60


def test_a_request_may_wait_until_the_queue_is_full():
    there = [an_instance(S.BUSY, in_flight=2)]
    assert refusal(KEY, pool_of(), there, None, 7, SETTINGS) is None
    refused = refusal(KEY, pool_of(), there, None, 8, SETTINGS)
    assert (refused.status, refused.code, refused.retry_after_seconds) == (429, "ResourceExhausted", 1)
    assert "8 requests wait" in refused.message


@pytest.mark.parametrize("pool", [None, pool_of(target=0)], ids=["no pool", "target 0"])
def test_without_reserved_instances_nobody_waits(pool):
    refused = refusal(KEY, pool, [], None, 0, SETTINGS)
    assert (refused.status, refused.code) == (429, "ResourceExhausted")
    assert "no reserved instance" in refused.message


def test_a_first_instance_on_its_way_is_waited_for():
    assert refusal(KEY, pool_of(), [an_instance(S.STARTING)], None, 0, SETTINGS) is None
    once = Crashes(1, 0, "bad flag", True)
    assert refusal(KEY, pool_of(), [], once, 0, SETTINGS) is None


def test_nobody_waits_for_a_revision_that_does_not_start():
    twice = Crashes(2, 0, "exited with code 2\nlast lines of its log:\nbad flag", True)
    refused = refusal(KEY, pool_of(), [an_instance(S.STARTING)], twice, 0, SETTINGS)
    assert (refused.status, refused.code) == (412, "FunctionNotStarted")
    assert "bad flag" in refused.message
    old = [an_instance(S.BUSY, revision="r0", in_flight=1)]
    assert refusal(KEY, pool_of(), old, twice, 0, SETTINGS) is None

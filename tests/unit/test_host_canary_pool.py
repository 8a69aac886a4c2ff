"""An alias of two versions: the requests on its two pools, through every change of its weights."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from tests.support.host_core import an_instance, function, pool_of, settle
from tests.support.host_core_bench import run_on_bench
from tickover.host.instance import Crashes, PoolKey, PoolSettings
from tickover.host.metrics import snapshot
from tickover.host.model import InstanceState as S
from tickover.host.model import Refused, Woken
from tickover.host.scheduler import decide, too_many

KEY = PoolKey("chat-dev", "live")
SPEC = function(concurrency=2)


def one(version="1", target=1):
    return (pool_of(SPEC, version=version, revision=f"v{version}", target=target),)


def two(weight, own="1", other="2", sizes=(1, 1)):
    (main,), (canary,) = one(own, sizes[0]), one(other, sizes[1])
    return (replace(main, weight=1 - weight), replace(canary, is_canary=True, weight=weight))


@pytest.fixture
def on_bench(tmp_path, monkeypatch):
    return lambda scenario, *pools: run_on_bench(tmp_path, monkeypatch, scenario, pools)


async def served(bench, count, session=""):
    """Which versions so many requests went to, one after the other."""
    found = Counter()
    for _ in range(count):
        lease = await bench.pool.acquire("chat-dev", "live", session=session)
        found[lease.version_id] += 1
        bench.pool.release(lease)
    return found


async def finished(bench, waiters):
    """Who waited, by number, and the version that served each, in the order in which they got their turn."""
    found, left = [], dict(enumerate(waiters))
    while left:
        await settle()
        done = [number for number, waiter in left.items() if waiter.done()]
        assert done, f"nobody serves {sorted(left)}"
        for number in done:
            waiter = left.pop(number)
            if not waiter.cancelled():
                found.append((number, waiter.result().version_id))
                bench.pool.release(waiter.result())
    return found


def up(bench):
    return sorted((view.version_id, view.state.value) for view in bench.pool.instances())


def test_requests_split_by_weight_and_switch_with_the_next_one(on_bench):
    async def scenario(bench):
        assert await served(bench, 1000) == {"1": 950, "2": 50}
        bench.declare(*two(0.5))
        assert await served(bench, 1000) == {"1": 500, "2": 500}
        bench.declare(*one("1"))
        assert await served(bench, 100) == {"1": 100}
        await settle()
        assert up(bench) == [("1", "ready")]
        bench.declare(*two(0.5))
        await settle()
        bench.declare(*one("2"))
        assert await served(bench, 100) == {"2": 100}, "its warm instance is the alias' own from now on"

    on_bench(scenario, *two(0.05))


def test_a_session_stays_with_its_version(on_bench):
    async def scenario(bench):
        found = [await served(bench, 5, session=f"s-{number}") for number in range(40)]
        assert {len(versions) for versions in found} == {1}
        assert {next(iter(versions)) for versions in found} == {"1", "2"}

    on_bench(scenario, *two(0.5))


def test_a_version_gets_its_share_once_it_is_up_and_no_more(on_bench):
    async def scenario(bench):
        bench.healthy.start.clear()
        bench.declare(*two(0.5))
        await settle()
        assert up(bench) == [("1", "ready"), ("2", "starting")]
        assert bench.pool.status("chat-dev", "live").current == 1
        assert bench.pool.status("chat-dev", "live").target == 2
        assert await served(bench, 1000) == {"1": 1000}
        bench.healthy.start.set()
        await settle()
        assert await served(bench, 1000) == {"1": 500, "2": 500}
        (own,) = [v.instance_id for v in bench.pool.instances() if v.version_id == "1"]
        bench.healthy.start.clear()
        bench.runtime.crash(own)
        await settle()
        assert await served(bench, 10) == {"2": 10}, "who is up serves"

    on_bench(scenario, *one())


def test_a_rollback_loses_nobody_in_flight_and_nobody_who_waits(on_bench):
    async def scenario(bench):
        held = [await bench.acquire() for _ in range(4)]
        assert Counter(lease.version_id for lease in held) == {"1": 2, "2": 2}
        waiters = [bench.waiting() for _ in range(6)]
        await settle()
        assert bench.pool._desk.waiting() == {("chat-dev", "live"): 6}
        bench.declare(*one("1"))
        await settle()
        assert bench.pool._desk.waiting() == {("chat-dev", "live"): 6}
        assert up(bench) == [("1", "busy"), ("2", "draining")]
        for lease in held:
            if lease.version_id == "2":
                bench.pool.release(lease)
        await settle()
        assert up(bench) == [("1", "busy")]
        assert not any(waiter.done() for waiter in waiters), "the old version takes nobody"
        for lease in held:
            if lease.version_id == "1":
                bench.pool.release(lease)
        assert [version for _, version in await finished(bench, waiters)] == ["1"] * 6

    on_bench(scenario, *two(0.5))


def test_who_waits_keeps_the_order_of_arrival_when_versions_change(on_bench):
    async def scenario(bench):
        held = [await bench.acquire() for _ in range(4)]
        waiters = []
        for _ in range(8):
            waiters.append(bench.waiting())
            await settle()
            bench.clock.tick(1)
        bench.declare(*one("1"))
        await settle()
        for waiter in waiters[1:5]:  # of both versions
            waiter.cancel()
        await settle()
        assert bench.pool._desk.waiting() == {("chat-dev", "live"): 4}, (
            "they leave the queue they were moved to"
        )
        for lease in held:
            bench.pool.release(lease)
        assert await finished(bench, waiters) == [(number, "1") for number in (0, 5, 6, 7)]

    on_bench(scenario, *two(0.5))


def test_a_canary_that_dies_gives_who_waits_to_the_other_version(on_bench):
    async def scenario(bench):
        held = [await bench.acquire() for _ in range(4)]
        waiters = [bench.waiting() for _ in range(4)]
        await settle()
        bench.healthy.start.clear()
        (canary,) = [v.instance_id for v in bench.pool.instances() if v.version_id == "2"]
        bench.runtime.crash(canary)
        await settle()
        for lease in held:
            bench.pool.release(lease, failed=lease.version_id == "2")
        assert [version for _, version in await finished(bench, waiters)] == ["1"] * 4

    on_bench(scenario, *two(0.5))


def test_a_canary_whose_health_check_fails_gets_nobody_until_it_passes(on_bench):
    async def scenario(bench):
        held = [await bench.acquire() for _ in range(4)]
        waiters = [bench.waiting() for _ in range(4)]
        await settle()
        (canary,) = [i for i in bench.pool._roster.instances.values() if i.version_id == "2"]
        canary.is_unhealthy = True
        bench.pool._judged(canary)
        for lease in held:
            if lease.version_id == "1":
                bench.pool.release(lease)
        assert [version for _, version in await finished(bench, waiters)] == ["1"] * 4
        for lease in held:
            if lease.version_id == "2":
                bench.pool.release(lease)
        assert await served(bench, 10) == {"1": 10}
        canary.is_unhealthy = False
        bench.pool._judged(canary)
        assert await served(bench, 10) == {"1": 5, "2": 5}

    on_bench(scenario, *two(0.5))


def test_a_canary_that_cannot_start_harms_nobody_and_is_told(on_bench):
    async def scenario(bench):
        bench.healthy.start_trouble = "no model here"
        bench.declare(*two(0.5))
        await settle()
        await bench.clock.advance(10)
        assert await served(bench, 50) == {"1": 50}
        status = bench.pool.status("chat-dev", "live")
        assert (status.target, status.current) == (2, 1)
        assert status.current_error.startswith("version 2: ")
        assert "no model here" in status.current_error

    on_bench(scenario, *one())


def test_a_version_number_says_who_has_its_instances(on_bench):
    async def scenario(bench):
        with pytest.raises(
            Refused, match=r"version 2 of chat-dev has no reserved instances of its own"
        ) as no:
            await bench.pool.acquire("chat-dev", "2")
        assert (no.value.status, no.value.code) == (429, "ResourceExhausted")

    on_bench(scenario, *two(0.5))


def test_both_versions_wake_and_are_counted_together(on_bench):
    async def scenario(bench):
        await bench.clock.advance(2)
        assert up(bench) == [("1", "idle"), ("2", "idle")]
        assert (await served(bench, 20)).keys() == {"1", "2"}, "an idle version is woken for its share"
        await bench.clock.advance(2)
        assert up(bench) == [("1", "idle"), ("2", "idle")]
        assert await bench.pool.wake("chat-dev", "live", 1) == Woken(1, 0, 1)
        assert await bench.pool.wake("chat-dev", "live") == Woken(1, 0, 2)
        seen = snapshot(bench.pool._roster, bench.pool._desk)
        assert seen.targets == {("chat-dev", "live"): 2}

    on_bench(scenario, *two(0.5))


def test_the_next_host_knows_whose_instances_are_whose(on_bench):
    async def scenario(bench):
        before = {v.instance_id: v.version_id for v in bench.pool.instances()}
        await bench.pool.stop(keep_instances=True)
        bench.pool = bench.new_pool()
        await bench.pool.start()
        await settle()
        assert {v.instance_id: v.version_id for v in bench.pool.instances()} == before
        assert await served(bench, 100) == {"1": 50, "2": 50}

    on_bench(scenario, *two(0.5))


def test_retiring_an_alias_takes_both_versions(on_bench):
    async def scenario(bench):
        retired = asyncio.create_task(bench.pool.retire("chat-dev", "live"))
        await settle()
        assert retired.done()
        await retired
        bench.declare()

    on_bench(scenario, *two(0.5))


# -- the scheduler's part ------------------------------------------------------------------------------------


def decided(pools, instances, crashes=None):
    return decide(pools, instances, crashes or {}, 0, PoolSettings(), wall_ns=0).to_text()


def instances_of(version, *states, canary=False):
    found = [an_instance(s, name=f"i-{version}{n}", revision=f"v{version}") for n, s in enumerate(states)]
    for instance in found:
        instance.key = KEY.other if canary else KEY
    return found


def test_a_version_shrinks_only_when_the_other_one_has_grown():
    own = instances_of("1", S.BUSY, S.BUSY, S.IDLE)
    pools = two(0.3, sizes=(2, 1))
    assert decided(pools, own) == "start chat-dev.live revision v2"
    starting = instances_of("2", S.STARTING, canary=True)
    assert decided(pools, [*own, *starting]) == ""
    failing = {(KEY.other, "v2"): Crashes(3, 0, "no model", before_ready=True)}
    assert decided(pools, own, failing) == "", "it may never come: nobody goes for it"
    ready = instances_of("2", S.IDLE, canary=True)
    assert decided(pools, [*own, *ready]) == "retired i-12: the pool has shrunk"


def test_who_is_kept_for_the_other_version_makes_room_where_there_is_none():
    own = instances_of("1", S.BUSY, S.IDLE)
    main, canary = two(0.5)
    assert [i.instance_id for i in too_many(main, own)] == ["i-11"]
    assert too_many(canary, instances_of("2", S.STARTING, canary=True)) == ()


def test_a_canary_of_another_version_goes_at_once():
    old = instances_of("2", S.READY, canary=True)
    text = decided(two(0.1, other="3"), [*instances_of("1", S.IDLE), *old])
    assert text == "start chat-dev.live revision v3\nretired i-20: a new revision has taken over"

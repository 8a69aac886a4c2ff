"""Requests and instances of a pool: start, idle, wake, queue, failure, replacement."""

import asyncio

import pytest

from tests.support.host_core import function, pool_of, settle, states
from tests.support.host_core_bench import run_on_bench
from tickover.host.model import Refused


@pytest.fixture
def on_bench(tmp_path, monkeypatch):
    return lambda scenario, *pools: run_on_bench(tmp_path, monkeypatch, scenario, pools)


def test_a_pool_comes_up_lingers_sleeps_and_wakes(on_bench):
    async def scenario(bench):
        assert states(bench.pool) == ["ready"]
        assert bench.pool.status("chat-dev", "live").current == 1
        await bench.clock.advance(1.9)
        assert states(bench.pool) == ["ready"]
        await bench.clock.advance(0.1)
        assert states(bench.pool) == ["idle"]
        lease = await bench.acquire()
        assert lease.woke
        assert states(bench.pool) == ["busy"]
        await bench.clock.advance(7)
        assert states(bench.pool) == ["busy"]
        bench.pool.release(lease)
        await bench.clock.advance(2)
        assert states(bench.pool) == ["idle"]
        assert bench.runtime.calls == ["spawn", "freeze", "thaw", "freeze"]
        assert bench.totals() == {"idle": 4.0, "busy": 7.0}
        assert bench.pool.usage(0, 2**62).calls == {"chat-dev": 1}

    on_bench(scenario)


def test_without_the_idle_switch_all_time_up_is_busy(on_bench):
    async def scenario(bench):
        await bench.clock.advance(100)
        assert states(bench.pool) == ["ready"]
        assert bench.totals() == {"busy": 100.0}

    on_bench(scenario, pool_of(idle=False))


def test_a_start_is_metered_until_ready(on_bench):
    async def scenario(bench):
        bench.healthy.start.clear()
        bench.declare(pool_of(target=2))
        await settle()
        assert sorted(states(bench.pool)) == ["ready", "starting"]
        await bench.clock.advance(30)
        bench.healthy.start.set()
        await settle()
        assert bench.totals()["starting"] == 30.0

    on_bench(scenario)


def test_waiters_are_served_in_order_up_to_the_concurrency(on_bench):
    async def scenario(bench):
        leases = [await bench.acquire(), await bench.acquire()]
        waiters = [bench.waiting() for _ in range(3)]
        await settle()
        assert bench.pool.instances()[0].in_flight == 2
        assert not any(w.done() for w in waiters)
        bench.pool.release(leases[0])
        await settle()
        assert [w.done() for w in waiters] == [True, False, False]
        waiters[1].cancel()
        await settle()
        bench.pool.release(leases[1])
        await settle()
        assert [w.done() for w in waiters] == [True, True, True]
        assert waiters[1].cancelled()
        assert bench.pool.instances()[0].in_flight == 2
        for waiter in (waiters[0], waiters[2]):
            bench.pool.release(waiter.result())
        assert states(bench.pool) == ["ready"]

    on_bench(scenario)


def test_a_lease_granted_to_a_request_that_just_left_is_taken_back(on_bench):
    async def scenario(bench):
        leases = [await bench.acquire(), await bench.acquire()]
        waiter = bench.waiting()
        await settle()
        bench.pool.release(leases[0])  # grants to the waiter, which has not run yet
        waiter.cancel()
        await settle()
        assert waiter.cancelled()
        assert bench.pool.instances()[0].in_flight == 1
        bench.pool.release(leases[1])
        assert bench.pool.instances()[0].in_flight == 0
        assert bench.pool.usage(0, 2**62).calls == {"chat-dev": 2}

    on_bench(scenario)


def test_overflow_is_refused_at_once(on_bench):
    async def scenario(bench):
        leases = [await bench.acquire(), await bench.acquire()]
        waiters = [bench.waiting() for _ in range(8)]
        await settle()
        with pytest.raises(Refused) as refused:
            await bench.acquire()
        assert (refused.value.status, refused.value.retry_after_seconds) == (429, 1)
        waiters[0].cancel()
        await settle()
        late = bench.waiting()
        await settle()
        assert not late.done()
        for waiter in (*waiters, late):
            waiter.cancel()
        for lease in leases:
            bench.pool.release(lease)

    on_bench(scenario)


def test_a_request_that_comes_while_it_is_being_frozen_wakes_it(on_bench):
    async def scenario(bench):
        await bench.clock.advance(2)
        bench.healthy.wake.clear()
        waiters = [bench.waiting(), bench.waiting(), bench.waiting()]
        await settle()
        assert states(bench.pool) == ["waking"]
        assert bench.runtime.calls.count("thaw") == 1
        bench.healthy.wake.set()
        await settle()
        assert [w.done() for w in waiters] == [True, True, False]
        assert all(w.result().woke for w in waiters[:2])
        bench.pool.release(waiters[0].result())
        await settle()
        assert waiters[2].done()

    on_bench(scenario)


def test_an_instance_that_does_not_wake_is_replaced_and_its_waiters_served(on_bench):
    async def scenario(bench):
        await bench.clock.advance(2)
        (first,) = bench.pool.instances()
        bench.healthy.wake_trouble = "nothing listens"
        lease = await bench.acquire()
        assert lease.instance_id != first.instance_id
        assert bench.runtime.calls == ["spawn", "freeze", "thaw", "kill", "spawn"] or bench.runtime.calls == [
            "spawn",
            "freeze",
            "thaw",
            "spawn",
            "kill",
        ]
        bench.pool.release(lease)

    on_bench(scenario)


def test_waiters_of_a_crashed_instance_get_the_replacement(on_bench):
    async def scenario(bench):
        leases = [await bench.acquire(), await bench.acquire()]
        waiter = bench.waiting()
        await settle()
        bench.runtime.crash(leases[0].instance_id)
        await settle()
        assert waiter.result().instance_id != leases[0].instance_id
        for lease in leases:
            bench.pool.release(lease, failed=True)
        bench.pool.release(waiter.result())
        await settle()
        assert states(bench.pool) == ["ready"]
        assert bench.pool.usage(0, 2**62).calls == {"chat-dev": 1}

    on_bench(scenario)


def test_a_revision_that_does_not_start_is_reported_and_waits_longer_each_time(on_bench):
    async def scenario(bench):
        bench.healthy.start_trouble = "nothing listens on port 1"
        bench.declare(pool_of(revision="r2"))
        await settle()
        status = bench.pool.status("chat-dev", "live")
        assert (status.target, status.current) == (1, 0)
        assert "not ready 120 seconds after its start: nothing listens" in status.current_error
        assert bench.runtime.calls.count("spawn") == 3  # the old one, and two tries of the new one
        await bench.clock.advance(0.9)
        assert bench.runtime.calls.count("spawn") == 3
        await bench.clock.advance(0.2)
        assert bench.runtime.calls.count("spawn") == 4
        lease = await bench.acquire()  # the old revision serves all the while
        bench.pool.release(lease)
        bench.healthy.start_trouble = None
        await bench.clock.advance(2.0)
        assert bench.pool.status("chat-dev", "live").current_error == ""
        assert [v.state.value for v in bench.pool.instances()] == ["ready"]

    on_bench(scenario)


def test_nobody_waits_for_what_does_not_start(on_bench):
    async def scenario(bench):
        bench.healthy.start_trouble = "it is no server"
        bench.declare(pool_of(name="other"))
        waiter = asyncio.get_running_loop().create_task(bench.pool.acquire("other", "live"))
        await settle()
        with pytest.raises(Refused) as refused:
            await waiter
        assert (refused.value.status, refused.value.code) == (412, "FunctionNotStarted")
        with pytest.raises(Refused, match="it is no server"):
            await bench.pool.acquire("other", "live")

    on_bench(scenario)


def test_an_image_of_another_kind_is_said(on_bench):
    async def scenario(bench):
        error = bench.pool.status("chat-dev", "live").current_error
        assert error == "this host has no container runtime; use image process://local"

    on_bench(scenario, pool_of(function(image="registry.example/vllm:v1")))


def test_new_before_old(on_bench):
    async def scenario(bench):
        old = await bench.acquire()
        bench.healthy.start.clear()
        bench.declare(pool_of(revision="r2", version="2"))
        await settle()
        assert sorted(states(bench.pool)) == ["busy", "starting"]
        second = await bench.acquire()
        assert second.version_id == "1"
        bench.pool.release(second)
        bench.healthy.start.set()
        await settle()
        assert sorted(states(bench.pool)) == ["draining", "ready"]
        third = await bench.acquire()
        assert third.version_id == "2"
        bench.pool.release(third)
        bench.pool.release(old)
        await settle()
        assert [v.version_id for v in bench.pool.instances()] == ["2"]

    on_bench(scenario)


def test_a_drain_ends_at_its_bound(on_bench):
    async def scenario(bench):
        lease = await bench.acquire()
        bench.declare()
        await settle()
        await bench.clock.advance(59)
        assert states(bench.pool) == ["draining"]
        await bench.clock.advance(2)
        assert states(bench.pool) == []
        bench.pool.release(lease, failed=True)

    on_bench(scenario)


def test_an_unhealthy_instance_gets_no_requests_and_is_replaced_when_empty(on_bench):
    async def scenario(bench):
        lease = await bench.acquire()
        bench.healthy.check_trouble = "GET /health answered 503"
        await bench.clock.advance(8.9)
        second = await bench.acquire()  # two failed checks are not three
        bench.pool.release(second)
        await bench.clock.advance(0.2)
        waiter = bench.waiting()
        await settle()
        assert not waiter.done()
        assert states(bench.pool) == ["busy"]  # what it has in flight may end
        bench.pool.release(lease)
        await bench.clock.advance(3)
        bench.healthy.check_trouble = None
        await settle()
        assert waiter.result().instance_id != lease.instance_id
        bench.pool.release(waiter.result())

    on_bench(scenario, pool_of(function(health="/health")))


def test_an_instance_that_is_healthy_again_serves_again(on_bench):
    async def scenario(bench):
        lease = await bench.acquire()
        bench.healthy.check_trouble = "GET /health answered 503"
        await bench.clock.advance(9.1)
        waiter = bench.waiting()
        await settle()
        bench.healthy.check_trouble = None
        await bench.clock.advance(3)
        assert waiter.result().instance_id == lease.instance_id
        bench.pool.release(lease)
        bench.pool.release(waiter.result())

    on_bench(scenario, pool_of(function(health="/health")))


def test_a_check_that_meets_a_frozen_instance_says_nothing(on_bench):
    async def scenario(bench):
        gate = asyncio.Event()

        async def slow_check(host, port, rule):
            await gate.wait()
            return "GET /health: no answer within 1 s"

        (first,) = bench.pool.instances()
        bench.healthy.check = slow_check
        for _ in range(4):
            gate.clear()
            lease = await bench.acquire()
            await bench.clock.advance(3)  # a check is under way when it goes to sleep
            bench.pool.release(lease)
            await bench.clock.advance(2)
            assert states(bench.pool) == ["idle"]
            gate.set()
            await settle()
        assert bench.pool.instances()[0].instance_id == first.instance_id

    on_bench(scenario, pool_of(function(health="/health")))

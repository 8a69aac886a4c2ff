"""The pool with a scripted runtime and a clock that stands still."""

import asyncio
import sqlite3

import pytest

from tests.support.host_core import Declared, FakeRuntime, ManualClock, function, pool_of, settle, states
from tickover.host import idle, works
from tickover.host.clock import SECOND_NS
from tickover.host.model import BillingClass, Refused
from tickover.host.pool import PoolSettings, ReservedPool
from tickover.host.runtimes.base import Condition

SETTINGS = PoolSettings(ledger_delay_seconds=0.0)


class Healthy:
    """Stands for the probes: a gate for each, and what they say."""

    def __init__(self):
        self.start, self.wake = asyncio.Event(), asyncio.Event()
        self.start.set()
        self.wake.set()
        self.start_trouble = self.wake_trouble = self.check_trouble = None

    async def until_healthy(self, host, port, rule, seconds):
        await self.start.wait()
        return self.start_trouble

    async def until_awake(self, host, port, rule, seconds):
        await self.wake.wait()
        return self.wake_trouble

    async def warm_up(self, host, port, seconds):
        return None

    async def is_unhealthy(self, host, port, rule):
        return self.check_trouble


class Bench:
    """One pool to try things on."""

    def __init__(self, path, declared, monkeypatch):
        self.path, self.declared = path, declared
        self.clock, self.runtime, self.healthy = ManualClock(), FakeRuntime(), Healthy()
        monkeypatch.setattr(works, "until_healthy", self.healthy.until_healthy)
        monkeypatch.setattr(works, "warm_up", self.healthy.warm_up)
        monkeypatch.setattr(works, "is_unhealthy", self.healthy.is_unhealthy)
        monkeypatch.setattr(works, "PAUSE_AFTER_FAILURE_SECONDS", 0)
        monkeypatch.setattr(idle, "until_healthy", self.healthy.until_awake)
        self.pool = self.new_pool()

    def new_pool(self):
        return ReservedPool(
            self.declared, self.path / "host.db", self.path, {}, self.clock, None, SETTINGS, [self.runtime]
        )

    def declare(self, *pools):
        self.declared.pools = pools
        self.pool.notify()

    def acquire(self):
        return self.pool.acquire("chat-dev", "live")

    def waiting(self):
        return asyncio.get_running_loop().create_task(self.acquire())

    def totals(self):
        found = {}
        for row in self.pool.usage(0, 2**62):
            found[row.billing_class.value] = found.get(row.billing_class.value, 0) + row.duration_ns
        return {name: ns / SECOND_NS for name, ns in found.items()}


@pytest.fixture
def on_bench(tmp_path, monkeypatch):
    def run(scenario, *pools):
        async def main():
            bench = Bench(tmp_path, Declared(*(pools or (pool_of(),))), monkeypatch)
            await bench.pool.start()
            await settle()
            await scenario(bench)
            await bench.pool.stop(keep_instances=False)
            assert bench.pool.instances() == ()

        asyncio.run(main())

    return run


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
        assert bench.pool.requests_served(0, 2**62) == {"chat-dev": 1}

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
        assert bench.pool.requests_served(0, 2**62) == {"chat-dev": 2}

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
        assert bench.pool.requests_served(0, 2**62) == {"chat-dev": 1}

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


def test_a_schedule_grows_and_shrinks_the_pool_on_time(on_bench):
    async def scenario(bench):
        now = bench.clock.wall_ns()
        bench.declared.schedule = [(now, 1), (now + 100 * SECOND_NS, 3), (now + 200 * SECOND_NS, 0)]
        bench.pool.notify()
        await bench.clock.advance(99.9)
        assert len(states(bench.pool)) == 1
        await bench.clock.advance(0.2)
        assert len(states(bench.pool)) == 3
        await bench.clock.advance(99.9)
        assert states(bench.pool) == []
        with pytest.raises(Refused, match="no reserved instance"):
            await bench.acquire()

    on_bench(scenario)


def test_a_change_that_needs_no_new_instance_applies_at_once(on_bench):
    async def scenario(bench):
        bench.declare(pool_of(function(concurrency=3)))
        leases = [await bench.acquire() for _ in range(3)]
        assert {lease.instance_id for lease in leases} == {bench.pool.instances()[0].instance_id}
        assert len(bench.pool.instances()) == 1
        for lease in leases:
            bench.pool.release(lease)

    on_bench(scenario)


def test_wake_wakes_all_and_they_go_to_sleep_again(on_bench):
    async def scenario(bench):
        await bench.clock.advance(2)
        assert states(bench.pool) == ["idle", "idle"]
        assert await bench.pool.wake("chat-dev", "live") == 2
        await bench.clock.advance(2)
        assert states(bench.pool) == ["idle", "idle"]
        with pytest.raises(Refused):
            await bench.pool.wake("other", "live")

    on_bench(scenario, pool_of(target=2))


def test_retire_ends_all_and_what_is_still_declared_comes_anew(on_bench):
    async def scenario(bench):
        lease = await bench.acquire()
        former = {view.instance_id for view in bench.pool.instances()}
        retired = asyncio.get_running_loop().create_task(bench.pool.retire("chat-dev"))
        await settle()
        assert states(bench.pool) == ["draining"]
        assert not retired.done()
        bench.pool.release(lease)
        await settle()
        assert retired.done()
        assert states(bench.pool) == ["ready", "ready"]
        assert not former & {view.instance_id for view in bench.pool.instances()}

    on_bench(scenario, pool_of(target=2))


def test_a_freeze_that_fails_leaves_it_serving(on_bench):
    async def scenario(bench):
        bench.runtime.freeze_error = "the process could not be stopped"
        await bench.clock.advance(2)
        assert states(bench.pool) == ["ready"]
        await bench.clock.advance(1.9)
        assert bench.runtime.calls == ["spawn", "freeze"]
        await bench.clock.advance(0.1)
        assert bench.runtime.calls == ["spawn", "freeze", "freeze"]

    on_bench(scenario)


@pytest.mark.parametrize(("trouble", "replaced"), [(None, False), ("nothing listens", True)])
def test_a_failed_request_has_its_instance_looked_at(on_bench, trouble, replaced):
    async def scenario(bench):
        lease = await bench.acquire()
        bench.healthy.check_trouble = trouble
        bench.pool.release(lease, failed=True)
        await settle()
        assert (bench.pool.instances()[0].instance_id != lease.instance_id) is replaced

    on_bench(scenario)


def test_the_next_host_goes_on_where_the_former_was(on_bench):
    async def scenario(bench):
        await bench.clock.advance(2)
        first = bench.pool.instances()[0]
        await bench.pool.stop(keep_instances=True)
        bench.clock.tick(50 * SECOND_NS)
        bench.pool = bench.new_pool()
        await bench.pool.start()
        assert [(v.instance_id, v.state) for v in bench.pool.instances()] == [(first.instance_id, first.state)]
        await settle()
        assert bench.runtime.calls == ["spawn", "freeze"]
        assert (await bench.acquire()).instance_id == first.instance_id
        assert bench.totals() == {"idle": 52.0}

    on_bench(scenario)


def test_what_ended_without_a_host_is_closed_and_replaced(on_bench):
    async def scenario(bench):
        await bench.clock.advance(10)
        first = bench.pool.instances()[0]
        await bench.pool.stop(keep_instances=True)
        bench.clock.tick(50 * SECOND_NS)
        bench.runtime.processes[first.instance_id].condition = Condition.GONE
        bench.pool = bench.new_pool()
        await bench.pool.start()
        await settle()
        assert bench.pool.instances()[0].instance_id != first.instance_id
        rows = [r for r in bench.pool.usage(0, 2**62) if r.instance_id == first.instance_id]
        assert sum(r.duration_ns for r in rows) == 10 * SECOND_NS
        with sqlite3.connect(bench.path / "host.db") as database:
            query = "SELECT reason FROM instance WHERE destroyed_wall_ns IS NOT NULL"
            assert database.execute(query).fetchall() == [("it ended while no host was running",)]
        database.close()

    on_bench(scenario)


def test_what_is_no_longer_declared_is_ended_by_the_next_host(on_bench):
    async def scenario(bench):
        await bench.pool.stop(keep_instances=True)
        bench.declared.pools = ()
        bench.pool = bench.new_pool()
        await bench.pool.start()
        await settle()
        assert bench.pool.instances() == ()
        assert bench.runtime.calls[-1] == "stop"

    on_bench(scenario)


def test_usage_says_what_an_instance_is_priced_by(on_bench):
    async def scenario(bench):
        await bench.clock.advance(1)
        (row,) = bench.pool.usage(0, 2**62)
        assert (row.billing_class, row.duration_ns) == (BillingClass.IDLE, SECOND_NS)
        assert (row.cpu, row.memory_mb, row.disk_mb, row.gpu_type) == (1, 1024, 512, "")
        assert row.end_ns - row.start_ns == SECOND_NS

    on_bench(scenario)

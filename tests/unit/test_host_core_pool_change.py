"""A pool under change: schedules, edits, retirement, the next host, the meter."""

import asyncio
import sqlite3

import pytest

from tests.support.host_core import function, pool_of, settle, states
from tests.support.host_core_bench import run_on_bench
from tickover.host.clock import SECOND_NS
from tickover.host.model import BillingClass, Refused, Woken
from tickover.host.runtimes.base import Condition


@pytest.fixture
def on_bench(tmp_path, monkeypatch):
    return lambda scenario, *pools: run_on_bench(tmp_path, monkeypatch, scenario, pools)


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


@pytest.mark.parametrize("late", ["while the registry is asked", "with something else happening"])
def test_a_firing_is_not_passed_over(on_bench, late):
    async def scenario(bench):
        now = bench.clock.wall_ns()
        edge = now + 10 * SECOND_NS
        bench.declared.schedule = [(now, 1), (edge, 3)]
        if late == "while the registry is asked":
            desired = bench.declared.desired

            def slowly(asked_ns):
                found = desired(asked_ns)
                if edge - SECOND_NS < asked_ns < edge:
                    bench.clock.tick(SECOND_NS)  # the edge passes between the two questions
                return found

            bench.declared.desired = slowly
            await bench.clock.advance(9.5)
            bench.pool.notify()
        else:
            bench.pool.notify()
            await bench.clock.advance(9.9)
            bench.clock.tick(SECOND_NS)  # the edge passes, its timer is late, and the pool is woken
            bench.pool._kicked.set()
        await bench.clock.advance(0.1)
        assert len(states(bench.pool)) == 3

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
        assert await bench.pool.wake("chat-dev", "live", count=1) == Woken(1, 0, 1)
        assert await bench.pool.wake("chat-dev", "live") == Woken(1, 0, 2)
        assert await bench.pool.wake("chat-dev", "live") == Woken(0, 0, 2)
        await bench.clock.advance(2)
        assert states(bench.pool) == ["idle", "idle"]
        with pytest.raises(Refused):
            await bench.pool.wake("other", "live")

    on_bench(scenario, pool_of(target=2))


def test_one_that_is_just_going_idle_is_awaited_and_woken(on_bench):
    async def scenario(bench):
        frozen, freeze = asyncio.Event(), bench.runtime.freeze

        async def slow(ref):
            await frozen.wait()
            await freeze(ref)

        bench.runtime.freeze = slow
        await bench.clock.advance(2)
        assert states(bench.pool) == ["suspending"]
        waking = asyncio.get_running_loop().create_task(bench.pool.wake("chat-dev", "live"))
        await settle()
        assert not waking.done()
        frozen.set()
        assert await waking == Woken(1, 0, 1)

    on_bench(scenario)


def test_one_that_does_not_wake_is_told(on_bench):
    async def scenario(bench):
        await bench.clock.advance(2)
        bench.healthy.wake_trouble = "it is broken"
        assert await bench.pool.wake("chat-dev", "live") == Woken(0, 1, 0)

    on_bench(scenario)


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
        assert [(v.instance_id, v.state) for v in bench.pool.instances()] == [
            (first.instance_id, first.state)
        ]
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
        rows = [r for r in bench.pool.usage(0, 2**62).rows if r.instance_id == first.instance_id]
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
        (row,) = bench.pool.usage(0, 2**62).rows
        assert (row.billing_class, row.duration_ns) == (BillingClass.IDLE, SECOND_NS)
        assert (row.cpu, row.memory_mb, row.disk_mb, row.gpu_type) == (1, 1024, 512, "")
        assert row.end_ns - row.start_ns == SECOND_NS

    on_bench(scenario)


def test_a_registry_that_fails_does_not_end_the_care_for_what_runs(on_bench):
    async def scenario(bench):
        good = bench.declared.desired

        def broken(now_ns):
            raise LookupError("no such version")

        bench.declared.desired = broken
        bench.pool.notify()
        await settle()
        assert states(bench.pool) == ["ready"]
        bench.declared.desired = good
        bench.declared.pools = (pool_of(target=2),)
        await bench.clock.advance(5)
        assert len(states(bench.pool)) == 2

    on_bench(scenario)

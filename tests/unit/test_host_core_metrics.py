"""What the pool's changes do to the metrics, with a clock that stands still."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.host_core import ManualClock, an_instance, pool_of, settle, states
from tests.support.host_core_bench import run_on_bench
from tickover.host.diagnosis import Cause
from tickover.host.metrics import Metrics, Snapshot, failure_class
from tickover.host.model import Deepest
from tickover.host.model import InstanceState as S
from tickover.host.states import LIVING, TABLE, Event


def values(page):
    return {
        (sample.name.removeprefix("tickover_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


@pytest.fixture
def on_bench(tmp_path, monkeypatch):
    return lambda scenario, *pools: run_on_bench(tmp_path, monkeypatch, scenario, pools)


@pytest.fixture
def metrics():
    return Metrics(ManualClock(), lambda: Snapshot((), {}, {}))


def test_a_wake_is_timed_from_when_it_was_asked_for(on_bench):
    async def scenario(bench):
        await bench.clock.advance(2)
        bench.healthy.wake.clear()
        waiter = bench.waiting()
        await bench.clock.advance(3)
        seen = values(bench.pool.metrics.page())
        assert seen["requests_waiting", "chat-dev", "live"] == 1
        assert seen["wakes_total", "chat-dev"] == 1 and ("wake_seconds_sum", "chat-dev") not in seen
        bench.healthy.wake.set()
        await settle()
        seen = values(bench.pool.metrics.page())
        assert seen["wake_seconds_sum", "chat-dev"] == 3.0 and seen["wake_seconds_count", "chat-dev"] == 1
        assert seen["requests_waiting", "chat-dev", "live"] == 0
        assert seen["requests_in_flight", "chat-dev", "live"] == 1
        bench.pool.release(waiter.result())

    on_bench(scenario)


def test_requests_beside_each_other_are_no_transition(on_bench):
    async def scenario(bench):
        first, second = await bench.acquire(), await bench.acquire()
        seen = values(bench.pool.metrics.page())
        assert seen["requests_in_flight", "chat-dev", "live"] == 2
        assert seen["transitions_total", "ready", "busy"] == 1
        assert ("transitions_total", "busy", "busy") not in seen
        bench.pool.release(first)
        bench.pool.release(second)
        assert values(bench.pool.metrics.page())["transitions_total", "busy", "ready"] == 1

    on_bench(scenario)


def test_a_start_that_fails_is_counted_by_its_class(on_bench):
    async def scenario(bench):
        bench.healthy.start_trouble = "nothing listens"
        bench.declare(pool_of(revision="r2"))
        await settle()
        seen = values(bench.pool.metrics.page())
        assert seen["failures_total", "chat-dev", "start"] == 2
        assert seen["instances", "chat-dev", "live", "ready"] == 1
        assert states(bench.pool) == ["ready"]

    on_bench(scenario)


def test_an_instance_taken_over_half_awake_has_no_wake_time(metrics):
    instance = an_instance(S.READY)
    metrics.moved(instance, S.WAKING, Event.WOKEN, 10**15)
    seen = values(metrics.page())
    assert seen["transitions_total", "waking", "ready"] == 1
    assert ("wake_seconds_count", "chat-dev") not in seen


def test_every_failure_that_the_table_knows_has_a_class():
    for state in LIVING | {S.DRAINING}:
        for event, move in TABLE[state].items():
            if move.state is S.FAILED:
                assert failure_class(an_instance(S.FAILED), state, event)


def test_the_cause_that_the_log_names_is_the_class():
    instance = an_instance(S.FAILED)
    assert failure_class(instance, S.STARTING, Event.EXITED) == "exit"
    instance.failure = Cause.GPU_MEMORY.value
    assert failure_class(instance, S.STARTING, Event.EXITED) == "gpu_memory"


def test_a_step_that_fails_is_not_counted():
    clock = ManualClock()
    metrics = Metrics(clock, lambda: Snapshot((), {}, {}))
    with metrics.step(Deepest.SLEEP, "down"):
        clock.tick(400_000_000)
    with pytest.raises(OSError), metrics.step(Deepest.SLEEP, "down"):
        raise OSError("no")
    seen = values(metrics.page())
    assert seen["idle_step_seconds_count", "down", "sleep"] == 1
    assert seen["idle_step_seconds_sum", "down", "sleep"] == pytest.approx(0.4)


def test_gpu_memory_is_what_was_told_last(metrics):
    metrics.gpu_used("GPU-1", 5)
    metrics.gpu_used("GPU-1", 3)
    metrics.residue("chat-dev", 7)
    seen = values(metrics.page())
    assert seen["gpu_used_bytes", "GPU-1"] == 3 and seen["gpu_residue_bytes", "chat-dev"] == 7


def test_two_hosts_in_a_process_share_no_metric(metrics):
    other = Metrics(ManualClock(), lambda: Snapshot((), {}, {}))
    other.gpu_used("GPU-1", 5)
    assert ("gpu_used_bytes", "GPU-1") not in values(metrics.page())

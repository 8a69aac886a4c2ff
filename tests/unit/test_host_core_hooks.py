"""Which hooks a function has, when they are called, and the settings of a start, on a scripted pool."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.host_core import function, pool_of, settle, states
from tests.support.host_core_bench import SETTINGS, run_on_bench
from tickover.fc.function import Function
from tickover.host import hooks
from tickover.host.adoption import adopted_state
from tickover.host.clock import SECOND_NS
from tickover.host.hooks import Hook, initializer_of, longest_pre_stop, pre_stop_of
from tickover.host.instance import start_deadline_seconds
from tickover.host.model import InstanceState as S
from tickover.host.probe import Answer, NoAnswer
from tickover.host.runtimes.base import Condition

RUN = {"command": ["warm", "up"], "timeout": 9}
BYE = {"handler": "bye", "timeout": 20}


@pytest.fixture
def on_bench(tmp_path, monkeypatch):
    """asked: the requests that instances get as hooks, each answered after so many seconds with the next
    status (None: with nothing)."""

    def play(scenario, *pools, answers=(), takes=0):
        asked, left, clocks = [], list(answers), []

        async def ask(host, port, method, path, seconds, body=None, headers=None):
            asked.append(f"{method} {path} {seconds:g}")
            clocks[0].tick(takes * SECOND_NS)
            status = left.pop(0) if left else 200
            if status is None:
                raise NoAnswer(f"no answer within {seconds:g} s")
            return Answer(status, b"why\n not")

        monkeypatch.setattr(hooks, "ask", ask)

        async def with_asked(bench):
            await scenario(bench, asked)

        def prepare(bench):
            clocks.append(bench.clock)
            bench.server.can_sleep = True

        run_on_bench(tmp_path, monkeypatch, with_asked, pools, prepare)

    return play


def test_the_hooks_of_a_spec():
    spec = function(initializer={"handler": "a"}, pre_stop=BYE)
    assert initializer_of(spec) == Hook("initializer", "POST", "/initialize", 3)
    assert pre_stop_of(spec) == Hook("preStop", "GET", "/pre-stop", 20)
    assert initializer_of(function(initializer=RUN)).argv == ("warm", "up")
    specs = [spec, function(), function(pre_stop={"handler": "x"})]
    waking = SETTINGS.queue_wait_seconds + SETTINGS.wake_asleep_deadline_seconds
    assert longest_pre_stop(specs, SETTINGS) == 20 + waking
    assert longest_pre_stop([function()], SETTINGS) == 0


@pytest.mark.parametrize("given", [None, {}, {"timeout": 9}, {"handler": ""}, {"command": []}])
def test_what_names_nothing_to_call_is_no_hook(given):
    spec = function(initializer=given, pre_stop=given)
    assert initializer_of(spec) is None and pre_stop_of(spec) is None


def test_the_initializer_comes_first_and_is_not_repeated_by_a_wake(on_bench):
    async def scenario(bench, asked):
        assert asked == ["POST /initialize 5"] and states(bench.pool) == ["ready"]
        await bench.clock.advance(2)
        bench.pool.release(await bench.acquire())
        assert asked == ["POST /initialize 5"]
        assert bench.totals()["idle"] == 2.0

    on_bench(scenario, pool_of(function(initializer={"handler": "a", "timeout": 5})))


def test_an_initializer_that_fails_counts_as_a_failed_start(on_bench):
    async def scenario(bench, asked):
        assert asked == ["POST /initialize 5"] * 2  # again at once, then only after the back-off
        error = bench.pool.status("chat-dev", "live").current_error
        assert error.startswith("its initializer failed: POST /initialize answered 503: why not")
        assert (
            b'tickover_failures_total{function="chat-dev",reason="initializer"} 2.0'
            in bench.pool.metrics.page()
        )
        await bench.clock.advance(1.1)
        assert len(asked) == 3 and states(bench.pool) == ["ready"]

    on_bench(
        scenario, pool_of(function(initializer={"handler": "a", "timeout": 5})), answers=[None, 503, 204]
    )


def test_the_time_of_the_initializer_is_not_taken_from_the_start_deadline(on_bench):
    async def scenario(bench, asked):
        assert bench.healthy.allowed == [120.0, 120.0] and states(bench.pool) == ["ready"]
        assert bench.totals()["starting"] == 200.0  # billed all the same

    on_bench(scenario, pool_of(function(initializer={"handler": "a", "timeout": 300})), takes=200)


@pytest.mark.parametrize(("took", "delay"), [(0, 30), (12, 18), (200, 0)])
def test_the_initial_delay_of_the_health_check_counts_from_the_start(on_bench, took, delay):
    async def scenario(bench, asked):
        assert [rule.delay_seconds for rule in bench.healthy.rules] == [0, delay]

    wire = function(health="/health", initializer={"handler": "a", "timeout": 300}).to_wire()
    wire["customContainerConfig"]["healthCheckConfig"]["initialDelaySeconds"] = 30
    on_bench(scenario, pool_of(Function.model_validate(wire)), takes=took)


def test_a_command_is_run_by_the_runtime(on_bench):
    async def scenario(bench, asked):
        assert bench.runtime.calls == ["spawn", "execute warm up"]
        assert asked == [] and states(bench.pool) == ["ready"]

    on_bench(scenario, pool_of(function(initializer=RUN)))


def test_an_idle_instance_is_thawed_before_its_hook_is_called(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(2)
        assert states(bench.pool) == ["idle"]
        bench.declare()
        await settle()
        assert bench.runtime.calls == ["spawn", "freeze", "thaw", "stop"] and asked == ["GET /pre-stop 20"]

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


def test_without_a_hook_an_idle_instance_is_ended_as_it_is(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(2)
        bench.declare()
        await settle()
        assert bench.runtime.calls == ["spawn", "freeze", "stop"] and asked == []

    on_bench(scenario)


def test_one_that_does_not_wake_is_ended_without_its_hook(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(2)
        bench.healthy.wake_trouble = "nothing listens"
        bench.declare()
        await settle()
        assert bench.runtime.calls[-1] == "stop" and asked == [] and states(bench.pool) == []

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


def test_the_time_of_a_pre_stop_hook_is_billed_as_active(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(1)
        bench.declare()
        await settle()
        assert asked == ["GET /pre-stop 20"] and states(bench.pool) == []
        await bench.clock.advance(5)
        assert bench.totals() == {"idle": 1.0, "busy": 7.0}

    on_bench(scenario, pool_of(function(pre_stop=BYE)), takes=7)


def test_a_wake_for_a_hook_is_billed_as_idle_and_what_comes_after_the_hook_is_not_billed(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(3)
        bench.healthy.wake.clear()
        gate = asyncio.Event()

        async def slow_stop(instance_id, ref, grace_seconds):
            await gate.wait()

        bench.runtime.stop = slow_stop
        bench.declare()
        await bench.clock.advance(2)
        assert bench.totals() == {"idle": 5.0} and asked == []
        bench.healthy.wake.set()
        await settle()
        await bench.clock.advance(4)
        assert states(bench.pool) == ["stopping"]
        assert bench.totals() == {"idle": 5.0, "busy": 7.0}
        gate.set()
        await settle()

    on_bench(scenario, pool_of(function(pre_stop=BYE)), takes=7)


@pytest.mark.parametrize("status", [None, 500])
def test_a_hook_that_fails_is_billed_for_as_long_as_it_took(on_bench, status):
    async def scenario(bench, asked):
        bench.declare()
        await bench.clock.advance(3)
        assert bench.totals() == {"busy": 20.0}

    on_bench(scenario, pool_of(function(pre_stop=BYE)), takes=20, answers=[status])


def test_one_that_does_not_wake_for_its_hook_is_billed_as_idle_until_that_is_known(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(2)
        bench.healthy.wake.clear()
        bench.healthy.wake_trouble = "nothing listens"
        bench.declare()
        await bench.clock.advance(6)
        bench.healthy.wake.set()
        await settle()
        await bench.clock.advance(9)
        assert bench.totals() == {"idle": 8.0} and asked == []

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


def test_one_without_a_hook_is_billed_until_its_stop_is_asked_for(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(1)
        gate = asyncio.Event()

        async def slow_stop(instance_id, ref, grace_seconds):
            await gate.wait()

        bench.runtime.stop = slow_stop
        bench.declare()
        await bench.clock.advance(4)
        assert states(bench.pool) == ["stopping"] and bench.totals() == {"idle": 1.0}
        gate.set()
        await settle()

    on_bench(scenario)


def test_without_the_idle_switch_all_of_a_stop_with_a_hook_is_billed_as_active(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(2)
        bench.declare()
        await bench.clock.advance(6)
        assert bench.totals() == {"busy": 9.0}

    on_bench(scenario, pool_of(function(pre_stop=BYE), idle=False), takes=7)


def test_a_bug_in_the_way_to_a_hook_keeps_no_instance(on_bench, monkeypatch):
    async def scenario(bench, asked):
        def broken(*given):
            raise ValueError("a bug")

        monkeypatch.setattr(hooks, "headers", broken)
        bench.declare()
        await settle()
        assert bench.runtime.calls[-1] == "stop" and states(bench.pool) == []

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


def test_one_that_is_cut_off_on_its_way_up_is_woken_again_for_its_hook(on_bench):
    async def scenario(bench, asked):
        await bench.clock.advance(2)
        bench.healthy.wake.clear()
        waiter = bench.waiting()
        await settle()
        assert states(bench.pool) == ["waking"]
        waiter.cancel()
        bench.declare()
        await settle()
        assert states(bench.pool) == ["stopping"] and asked == []
        bench.healthy.wake.set()
        await settle()
        assert asked == ["GET /pre-stop 20"] and bench.runtime.calls.count("thaw") == 2

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


def test_one_that_is_cut_off_on_its_way_down_is_woken_for_its_hook(on_bench):
    async def scenario(bench, asked):
        gate = asyncio.Event()

        async def slow_freeze(ref):
            await gate.wait()

        bench.runtime.freeze = slow_freeze
        await bench.clock.advance(2)
        assert states(bench.pool) == ["suspending"] and bench.server.is_asleep
        bench.declare()
        await settle()
        assert asked == ["GET /pre-stop 20"] and not bench.server.is_asleep
        assert bench.runtime.calls[-1] == "stop"

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


def test_one_that_a_former_host_left_draining_gets_its_hook(on_bench):
    async def scenario(bench, asked):
        await bench.acquire()
        bench.declare()
        await settle()
        assert states(bench.pool) == ["draining"]
        await bench.pool.stop(keep_instances=True)
        bench.pool = bench.new_pool()
        await bench.pool.start()
        await settle()
        assert asked == ["GET /pre-stop 20"] and states(bench.pool) == []

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


def test_one_that_never_served_gets_no_pre_stop_hook(on_bench):
    async def scenario(bench, asked):
        bench.healthy.start.clear()
        bench.declare(pool_of(function(pre_stop=BYE), target=2))
        await settle()
        bench.declare(pool_of(function(pre_stop=BYE), target=1))
        await settle()
        assert states(bench.pool) == ["ready"] and asked == []
        bench.healthy.start.set()

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


def test_the_end_of_all_waits_for_the_hooks(on_bench):
    async def scenario(bench, asked):
        without = SETTINGS.stop_grace_seconds + 20
        assert bench.pool.stop_seconds() == without + longest_pre_stop([function(pre_stop=BYE)], SETTINGS)
        bench.declare()
        await settle()
        assert bench.pool.stop_seconds() == without

    on_bench(scenario, pool_of(function(pre_stop=BYE)))


@pytest.mark.parametrize("condition", [Condition.RUNNING, Condition.FROZEN])
def test_a_start_with_an_initializer_is_not_taken_over(condition):
    once = {"may_sleep": True, "may_be_initialized": True}
    assert adopted_state(S.STARTING, condition, **once) is S.STOPPING
    assert adopted_state(S.STARTING, Condition.RUNNING, may_sleep=True) is S.STARTING
    assert adopted_state(S.READY, Condition.FROZEN, **once) is S.IDLE


def test_checks_are_not_counted_across_a_sleep(on_bench):
    """Two failed checks, a sleep and a wake that looked, and one more failed check are no three in a row."""

    async def scenario(bench, asked):
        lease = await bench.acquire()
        bench.healthy.check_trouble = "GET /health answered 503"
        await bench.clock.advance(6.1)
        bench.pool.release(lease)
        await bench.clock.advance(5.5)  # idle, and a check is due meanwhile
        assert states(bench.pool) == ["idle"]
        lease = await bench.acquire()
        await bench.clock.advance(3)
        bench.pool.release(await bench.acquire())  # it still gets requests
        bench.healthy.check_trouble = None
        bench.pool.release(lease)

    on_bench(scenario, pool_of(function(health="/health")))


@pytest.mark.parametrize(
    ("given", "seconds"), [("600", 600), ("0.5", 120), ("", 120), ("soon", 120), ("nan", 120), ("1e9", 120)]
)
def test_start_deadline_by_variable(given, seconds):
    spec = function(env={"TICKOVER_START_DEADLINE_SECONDS": given})
    assert start_deadline_seconds(spec, SETTINGS) == seconds

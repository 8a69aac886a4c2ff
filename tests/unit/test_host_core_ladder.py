"""The idle ladder on a scripted pool: the server sleeps, then the processor is taken; back in reverse."""

from __future__ import annotations

import pytest

from tests.support.host_core import function, pool_of, settle, states
from tests.support.host_core_bench import run_on_bench
from tickover.host.adoption import adopted_state
from tickover.host.model import InstanceState as S
from tickover.host.runtimes.base import Condition


@pytest.fixture
def ladder(tmp_path, monkeypatch):
    """Plays a scenario on a pool whose server can sleep, unless prepared otherwise."""

    def play(scenario, *pools, prepare=lambda server: None):
        def ready(bench):
            bench.server.can_sleep = True
            prepare(bench.server)

        run_on_bench(tmp_path, monkeypatch, scenario, pools, ready)

    return play


def rung(bench):
    (view,) = bench.pool.instances()
    return view.rung


async def idle_again(bench):
    await bench.clock.advance(2)
    assert states(bench.pool) == ["idle"]


def test_a_server_sleeps_before_it_is_frozen_and_wakes_after_it_is_thawed(ladder):
    async def scenario(bench):
        assert bench.server.calls == ["sleep", "wake_up", "draw"]  # the first time, off anybody's request
        await idle_again(bench)
        assert bench.server.is_asleep and rung(bench) == "sleep"
        lease = await bench.acquire()
        assert lease.woke and rung(bench) == "none"
        assert bench.server.calls[3:] == ["sleep", "wake_up", "draw"]
        assert bench.runtime.calls == ["spawn", "freeze", "thaw"]
        bench.pool.release(lease)

    ladder(scenario)


def test_a_server_that_cannot_sleep_is_only_frozen_and_not_asked_again(ladder):
    async def scenario(bench):
        await idle_again(bench)
        bench.server.fails["is_sleeping"] = "nobody should have asked"
        assert rung(bench) == "freeze"
        bench.pool.release(await bench.acquire())
        assert bench.server.calls == [] and states(bench.pool) == ["ready"]

    ladder(scenario, prepare=lambda server: setattr(server, "can_sleep", False))


@pytest.mark.parametrize(
    ("deepest", "expected"), [("freeze", "freeze"), ("sleep", "sleep"), ("odd", "sleep")]
)
def test_a_function_says_how_deep_it_goes(ladder, deepest, expected):
    async def scenario(bench):
        await idle_again(bench)
        assert rung(bench) == expected

    ladder(scenario, pool_of(function(env={"TICKOVER_IDLE_DEEPEST": deepest})))


def test_one_that_goes_nowhere_goes_on_running(ladder):
    async def scenario(bench):
        await bench.clock.advance(2)
        assert states(bench.pool) == ["ready"] and "freeze" not in bench.runtime.calls

    ladder(scenario, pool_of(function(env={"TICKOVER_IDLE_DEEPEST": "none"})))


def test_a_server_with_work_by_its_own_count_is_left_alone(ladder):
    async def scenario(bench):
        bench.server.busy = 1  # a request that the door knows nothing of
        await bench.clock.advance(2)
        assert states(bench.pool) == ["ready"] and bench.runtime.calls == ["spawn"]
        bench.server.busy = 0
        await idle_again(bench)
        assert rung(bench) == "sleep"

    ladder(scenario)


def test_a_server_that_does_not_tell_its_work_is_never_put_to_sleep(ladder):
    async def scenario(bench):
        await idle_again(bench)
        assert rung(bench) == "freeze" and bench.server.calls == ["sleep", "wake_up", "draw"]

    ladder(scenario, prepare=lambda server: server.fails.update(work="no such metric"))


def test_a_first_sleep_that_fails_leaves_a_server_that_is_only_frozen(ladder):
    async def scenario(bench):
        assert states(bench.pool) == ["ready"]
        await idle_again(bench)
        assert rung(bench) == "freeze" and bench.server.calls == ["sleep"]

    ladder(scenario, prepare=lambda server: server.fails.update(sleep="not enabled"))


def test_a_later_sleep_that_fails_is_the_next_rung(ladder):
    async def scenario(bench):
        bench.server.fails["sleep"] = "no host memory"
        await idle_again(bench)
        assert rung(bench) == "freeze" and not bench.server.is_asleep
        bench.pool.release(await bench.acquire())

    ladder(scenario)


def test_a_server_that_sleeps_though_it_said_no_is_woken(ladder):
    async def scenario(bench):
        bench.server.fails["sleep"], bench.server.is_deaf = "the connection broke", True
        await idle_again(bench)
        assert not bench.server.is_asleep and bench.server.calls[-2:] == ["wake_up", "draw"]

    ladder(scenario)


def test_what_cannot_be_frozen_is_woken_again(ladder):
    async def scenario(bench):
        bench.runtime.freeze_error = "no rights"
        await bench.clock.advance(2)
        assert states(bench.pool) == ["ready"] and not bench.server.is_asleep and rung(bench) == "none"

    ladder(scenario)


@pytest.mark.parametrize("call", ["wake_up", "draw"])
def test_a_server_that_does_not_come_back_is_replaced_and_the_request_served_by_the_new_one(ladder, call):
    async def scenario(bench):
        await idle_again(bench)
        (broken,) = bench.pool.instances()
        bench.server.fails_once[call] = "CUDA out of memory"
        waiting = bench.waiting()
        await settle()
        bench.server.is_asleep = False
        await bench.clock.advance(1)
        lease = await waiting
        assert lease.instance_id != broken.instance_id and "kill" in bench.runtime.calls
        bench.pool.release(lease)

    ladder(scenario)


def test_an_instance_that_wakes_badly_right_after_its_start_never_serves(ladder):
    async def scenario(bench):
        assert "ready" not in states(bench.pool)
        assert "CUDA out of memory" in bench.pool.status("chat-dev", "live").current_error
        bench.server.fails.clear()

    ladder(scenario, prepare=lambda server: server.fails.update(wake_up="CUDA out of memory"))


@pytest.mark.parametrize("noted", [S.READY, S.BUSY, S.SUSPENDING, S.IDLE, S.WAKING])
def test_one_that_may_be_asleep_is_woken_when_it_is_taken_over_and_a_frozen_one_is_left(noted):
    assert adopted_state(noted, Condition.RUNNING, may_sleep=True) is S.WAKING
    assert adopted_state(noted, Condition.RUNNING, may_sleep=False) is S.READY
    assert adopted_state(noted, Condition.FROZEN, may_sleep=True) is S.IDLE


def test_a_first_sleep_that_a_former_host_began_is_ended_before_the_warm_up(ladder):
    async def scenario(bench):
        assert bench.server.calls == ["wake_up", "draw", "sleep", "wake_up", "draw"]

    ladder(scenario, prepare=lambda server: setattr(server, "is_asleep", True))


def test_an_idle_one_that_is_taken_over_wakes_up_its_server(ladder):
    async def scenario(bench):
        await idle_again(bench)
        await bench.pool.stop(keep_instances=True)
        bench.pool = bench.new_pool()
        await bench.pool.start()
        assert states(bench.pool) == ["idle"] and bench.server.is_asleep
        lease = await bench.acquire()
        assert not bench.server.is_asleep
        bench.pool.release(lease)

    ladder(scenario)

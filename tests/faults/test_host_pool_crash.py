"""Instances that crash, hang or never start, on real processes."""

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from tests.support.host_core import FAST, Declared, function, get, pool_of, run, running, states, until
from tickover.host.model import Refused
from tickover.host.probe import NoAnswer


def declared(*arguments, **options):
    return Declared(pool_of(function(*arguments, **options)))


def error_of(pool):
    return pool.status("chat-dev", "live").current_error


def test_an_exit_at_once_is_told_with_code_and_last_words(tmp_path):
    async def scenario():
        async with running(tmp_path, declared("--exit-code", "3")) as pool:
            await until(lambda: error_of(pool) != "", "the error")
            assert error_of(pool).startswith("the process exited with code 3\nlast lines of its log:\n")
            assert "this is the last line before the end" in error_of(pool)
            with pytest.raises(Refused) as refused:
                await pool.acquire("chat-dev", "live")
            assert (refused.value.status, refused.value.code) == (412, "FunctionNotStarted")

    run(scenario())


@pytest.mark.parametrize(
    ("arguments", "health", "said"),
    [
        (("--mute",), None, "nothing listens on port"),
        (("--unhealthy",), "/health", "GET /health answered 503"),
    ],
    ids=["mute", "unhealthy"],
)
def test_a_start_that_takes_too_long_is_ended_and_told(tmp_path, arguments, health, said):
    async def scenario():
        settings = replace(FAST, start_deadline_seconds=0.6)
        async with running(tmp_path, declared(*arguments, health=health), settings=settings) as pool:
            await until(lambda: error_of(pool) != "", "the error")
            assert "not ready 0.6 seconds after its start: health check failed" in error_of(pool)
            assert said in error_of(pool)
            assert "tiny server, port" in error_of(pool)

    run(scenario())


def test_a_start_that_fails_once_is_tried_again_for_those_who_wait(tmp_path):
    async def scenario():
        async with running(tmp_path, declared("--exit-once", str(tmp_path / "once"))) as pool:
            lease = await pool.acquire("chat-dev", "live")
            assert (tmp_path / "once").exists()
            pool.release(lease)
            assert error_of(pool) == ""

    run(scenario())


def test_a_crash_under_load_costs_only_what_was_in_flight(tmp_path):
    async def scenario():
        async with running(tmp_path, declared()) as pool:
            first, second = [await pool.acquire("chat-dev", "live") for _ in range(2)]
            waiters = [asyncio.create_task(pool.acquire("chat-dev", "live")) for _ in range(2)]
            with pytest.raises(NoAnswer):
                await get(first.port, "/crash?code=9")
            pool.release(first, failed=True)
            pool.release(second, failed=True)
            for lease in await asyncio.gather(*waiters):
                assert lease.instance_id != first.instance_id
                assert await get(lease.port, "/health") == {"ok": True}
                pool.release(lease)
            await until(lambda: states(pool) == ["idle"], "idle")

    run(scenario())


def test_a_crash_loop_is_slowed_down(tmp_path):
    async def scenario():
        async with running(tmp_path, declared("--exit-code", "1")):
            await asyncio.sleep(1.0)
        starts = len(list((tmp_path / "logs").glob("*.log")))
        assert 2 <= starts <= 5  # at 0, 0, 0.2, 0.6 s (and 1.4); fewer on a slow machine

    run(scenario())


def test_killed_while_frozen_it_is_replaced(tmp_path):
    async def scenario():
        async with running(tmp_path, declared()) as pool:
            await until(lambda: states(pool) == ["idle"], "idle")
            (first,) = pool.instances()
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: pool.instances()[-1].instance_id != first.instance_id, "the replacement")
            await until(lambda: states(pool) == ["idle"], "idle")

    run(scenario())


def test_one_that_hangs_after_its_wake_is_replaced_for_those_who_wait(tmp_path):
    async def scenario():
        settings = replace(FAST, wake_deadline_seconds=0.3)
        async with running(tmp_path, declared(health="/health"), settings=settings) as pool:
            await until(lambda: states(pool) == ["idle"], "idle")
            (first,) = pool.instances()
            waiter = asyncio.create_task(pool.acquire("chat-dev", "live"))
            for _ in range(2000):  # whenever it is thawed, stop it again
                await asyncio.sleep(0)
                if not waiter.done() and pool.instances()[0].instance_id == first.instance_id:
                    os.kill(first.pid, signal.SIGSTOP)
            lease = await waiter
            assert lease.instance_id != first.instance_id
            pool.release(lease)

    run(scenario())


def test_the_warm_up_has_run_before_the_first_request(tmp_path):
    async def scenario():
        async with running(tmp_path, declared()) as pool:
            lease = await pool.acquire("chat-dev", "live")
            assert await get(lease.port, "/chats") == {"chats": 1}
            pool.release(lease)
            async with asyncio.timeout(10):
                await pool.retire("chat-dev")

    run(scenario())


def test_a_wake_is_fast(tmp_path):
    async def scenario():
        async with running(tmp_path, declared()) as pool:
            waits = []
            for _ in range(5):
                await until(lambda: states(pool) == ["idle"], "idle")
                lease = await pool.acquire("chat-dev", "live")
                assert lease.woke
                waits.append(lease.waited_ns / 1e6)
                pool.release(lease)
            assert sorted(waits)[2] < 50, f"milliseconds: {waits}"

    run(scenario())


def test_a_stopped_host_leaves_nothing_or_all_as_asked(tmp_path):
    async def scenario():
        async with running(tmp_path, declared(), keep=True) as pool:
            await until(lambda: states(pool) == ["idle"], "idle")
            (kept,) = pool.instances()
        os.kill(kept.pid, 0)
        async with running(tmp_path, declared()) as pool:
            assert pool.instances()[0].instance_id == kept.instance_id
        with pytest.raises(ProcessLookupError):
            os.kill(kept.pid, 0)

    run(scenario())

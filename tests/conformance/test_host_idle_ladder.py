"""The idle ladder on real processes: a small server with vLLM's sleep calls goes down and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from tests.faults.test_host_pool_kill import Host, in_state
from tests.support.host_core import Declared, function, get, pool_of, run, running, states, until
from tickover.host.gpu.sequence import is_stopped
from tickover.host.probe import NoAnswer, ask

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


async def chat(port, seconds=10.0):
    answer = await ask("127.0.0.1", port, "POST", "/v1/chat/completions", seconds, CHAT)
    return json.loads(answer.body)["choices"][0]["message"]["content"]


def rung(pool):
    (view,) = pool.instances()
    return view.rung


def test_an_idle_server_is_asleep_and_frozen_and_answers_after_its_wake(tmp_path):
    async def scenario():
        async with running(tmp_path, Declared(pool_of(function("--sleeps")))) as pool:
            await until(lambda: states(pool) == ["idle"], "idle")
            (view,) = pool.instances()
            assert rung(pool) == "sleep" and is_stopped(view.pid)
            lease = await pool.acquire("chat-dev", "live")
            assert lease.woke and await get(lease.port, "/is_sleeping") == {"is_sleeping": False}
            assert await chat(lease.port) == "hello"
            pool.release(lease)
            await until(lambda: states(pool) == ["idle"], "idle again")
            told = (tmp_path / "logs" / f"{view.instance_id}.log").read_text().splitlines()
            assert told.count("told to sleep") == 3 and told.count("told to wake_up") == 2

    run(scenario())


def test_at_level_2_the_weights_are_read_again_before_the_cache_is_taken_back(tmp_path):
    async def scenario():
        spec = function("--sleeps", env={"TICKOVER_SLEEP_LEVEL": "2"})
        async with running(tmp_path, Declared(pool_of(spec))) as pool:
            await until(lambda: states(pool) == ["idle"], "idle")
            lease = await pool.acquire("chat-dev", "live")
            assert (
                await chat(lease.port) == "hello"
            )  # without the weights the small server says something else
            (view,) = pool.instances()
            told = (tmp_path / "logs" / f"{view.instance_id}.log").read_text().splitlines()
            once = ["sleep", "wake_up", "collective_rpc", "wake_up", "reset_prefix_cache"]
            assert [line[8:] for line in told if line.startswith("told to ")] == once * 2
            pool.release(lease)

    run(scenario())


def test_the_level_is_the_instances_own_whatever_its_function_says_later(tmp_path):
    async def scenario():
        declared = Declared(pool_of(function("--sleeps", env={"TICKOVER_SLEEP_LEVEL": "2"})))
        async with running(tmp_path, declared) as pool:
            await until(lambda: states(pool) == ["idle"], "idle")
            declared.pools = (pool_of(function("--sleeps")),)  # level 1, the same revision
            pool.notify()
            lease = await pool.acquire("chat-dev", "live")
            assert await chat(lease.port) == "hello"
            pool.release(lease)

    run(scenario())


def test_the_small_server_waits_with_a_chat_while_it_sleeps_as_vllm_does(tmp_path):
    """Shows that the other tests can fail: without the wake no answer comes."""

    async def scenario():
        spec = function("--sleeps", env={"TICKOVER_IDLE_DEEPEST": "none"})
        async with running(tmp_path, Declared(pool_of(spec))) as pool:
            lease = await pool.acquire("chat-dev", "live")
            await ask("127.0.0.1", lease.port, "POST", "/sleep?level=1", 5.0)
            with pytest.raises(NoAnswer):
                await chat(lease.port, 0.3)
            await ask("127.0.0.1", lease.port, "POST", "/wake_up", 5.0)
            assert await chat(lease.port) == "hello"
            pool.release(lease)

    run(scenario())


def test_work_that_the_door_knows_nothing_of_keeps_it_awake(tmp_path):
    async def scenario():
        async with running(tmp_path, Declared(pool_of(function("--sleeps")))) as pool:
            lease = await pool.acquire("chat-dev", "live")
            await get(lease.port, "/busy?requests=1")
            pool.release(lease)
            await until(lambda: states(pool) == ["suspending"], "a try")
            await until(lambda: states(pool) == ["ready"], "given up")
            assert await get(lease.port, "/is_sleeping") == {"is_sleeping": False}
            await get(lease.port, "/busy?requests=0")
            await until(lambda: states(pool) == ["idle"], "idle")

    run(scenario())


def test_many_requests_while_it_goes_down_and_up_are_all_answered(tmp_path):
    async def scenario():
        async with running(tmp_path, Declared(pool_of(function("--sleeps", concurrency=4)))) as pool:

            async def one(number):
                await asyncio.sleep(0.05 * number)
                lease = await pool.acquire("chat-dev", "live")
                try:
                    return await chat(lease.port)
                finally:
                    pool.release(lease)

            for _ in range(6):
                answers = await asyncio.gather(*(one(number) for number in range(12)))
                assert answers == ["hello"] * 12
                await until(lambda: states(pool) == ["idle"], "idle")
                assert rung(pool) == "sleep"

    run(scenario())


def test_a_host_killed_while_all_sleeps_leaves_it_to_the_next_one(tmp_path):
    host = Host(tmp_path, arguments=["--sleeps"])
    (view,) = host.until(in_state("idle"))
    host.kill()
    assert is_stopped(view["pid"])

    async def scenario():
        async with running(tmp_path, Declared(pool_of(function("--sleeps")))) as pool:
            assert states(pool) == ["idle"]
            lease = await pool.acquire("chat-dev", "live")
            assert lease.instance_id == view["id"] and await chat(lease.port) == "hello"
            pool.release(lease)

    run(scenario())


def test_a_host_killed_between_sleep_and_freeze_leaves_no_server_asleep_for_good(tmp_path):
    host = Host(tmp_path, arguments=["--sleeps"])
    (view,) = host.until(in_state("idle"))
    host.kill()
    os.kill(view["pid"], signal.SIGCONT)  # as it is after the sleep and before the freeze

    async def scenario():
        async with running(tmp_path, Declared(pool_of(function("--sleeps")))) as pool:
            lease = await pool.acquire("chat-dev", "live")
            assert lease.instance_id == view["id"] and await chat(lease.port) == "hello"
            pool.release(lease)

    run(scenario())

"""Instances on cards: real processes that give memory up, are checkpointed, take turns and are adopted.

The cards and their driver are simulated (`tests/support/host_gpu_machine`); a process that takes more than
its card has fails, as a real one does.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.host_core import Declared, function, get, pool_of, run, running, states, until
from tests.support.host_gpu_machine import CARD, Machine, hosting, on_gpu
from tickover.host.clock import SECOND_NS
from tickover.host.gpu import keeper
from tickover.host.gpu.nvml import GIB, MIB, Card
from tickover.host.model import Refused, Woken
from tickover.host.probe import ask

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
DEEP = {"TICKOVER_IDLE_DEEP_AFTER_SECONDS": "0"}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def served(machine, name="chat-dev", env=None, revision="r1", **more):
    spec = on_gpu(function(*machine.arguments(**more), env=env or {}))
    return pool_of(spec, name=name, revision=revision)


async def chat(pool, name="chat-dev"):
    lease = await pool.acquire(name, "live")
    try:
        answer = await ask("127.0.0.1", lease.port, "POST", "/v1/chat/completions", 10.0, CHAT)
        return json.loads(answer.body)["choices"][0]["message"]["content"]
    finally:
        pool.release(lease)


def rung(pool, name="chat-dev"):
    return " ".join(f"{view.state.value}/{view.rung}" for view in pool.instances(name))


def test_asleep_it_leaves_its_residue_and_awake_it_has_all_of_its_memory(tmp_path, machine):
    async def scenario():
        async with hosting(tmp_path, machine, served(machine)) as pool:
            await until(lambda: rung(pool) == "idle/sleep", "asleep")
            assert machine.used_mib() == 1920 and machine.driver.calls == []
            lease = await pool.acquire("chat-dev", "live")
            assert machine.used_mib() == 44 * 1024
            assert (await get(lease.port, "/env?name=CUDA_VISIBLE_DEVICES"))["value"] == "0"
            pool.release(lease)

    run(scenario())


def test_after_a_while_the_driver_takes_the_rest_and_the_card_is_empty(tmp_path, machine):
    async def scenario():
        async with hosting(tmp_path, machine, served(machine, env=DEEP)) as pool:
            for _ in range(3):
                await until(lambda: rung(pool) == "idle/checkpoint", "deep")
                assert machine.used_mib() == 0
                assert await chat(pool) == "hello"
            assert machine.driver.calls.count("restore") == 3

    run(scenario())


def seen(pool):
    """The metrics page: (name, labels in the order of their names) to value."""
    return {
        (sample.name.removeprefix("tickover_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(pool.metrics.page().decode())
        for sample in family.samples
    }


def test_what_the_card_holds_and_each_step_are_in_the_metrics(tmp_path, machine):
    async def scenario():
        env = {**DEEP, "TICKOVER_IDLE_DEEP_AFTER_SECONDS": "0.3"}
        async with hosting(tmp_path, machine, served(machine, env=env)) as pool:
            await until(lambda: rung(pool) == "idle/sleep", "asleep")
            await until(lambda: ("gpu_residue_bytes", "chat-dev") in seen(pool), "its residue")
            assert seen(pool)["gpu_residue_bytes", "chat-dev"] == 1920 * MIB
            assert seen(pool)["gpu_used_bytes", "GPU-a"] >= 1920 * MIB
            await until(lambda: rung(pool) == "idle/checkpoint", "deep")
            await until(lambda: seen(pool)["gpu_residue_bytes", "chat-dev"] == 0, "nothing left")
            assert await chat(pool) == "hello"
            await until(lambda: seen(pool).get(("idle_step_seconds_count", "up", "sleep"), 0) >= 1, "a wake")
            for direction in ("down", "up"):
                assert seen(pool)["idle_step_seconds_count", direction, "checkpoint"] == 1

    run(scenario())


def test_a_checkpointed_instance_is_restored_for_its_pre_stop_hook(tmp_path, machine):
    async def scenario():
        hook = {"handler": "bye", "timeout": 5}
        spec = function(*machine.arguments(), "--pre-stop", "200", env=DEEP, pre_stop=hook)
        async with hosting(tmp_path, machine, pool_of(on_gpu(spec), name="chat-dev")) as pool:
            await until(lambda: rung(pool) == "idle/checkpoint", "deep")
            (view,) = pool.instances()
            await pool.retire("chat-dev")
            said = (tmp_path / "logs" / f"{view.instance_id}.log").read_text()
            assert machine.driver.calls.count("restore") == 1 and "pre-stop {" in said

    run(scenario())


def test_sleep_is_the_deepest_where_that_is_said(tmp_path, machine):
    async def scenario():
        env = {**DEEP, "TICKOVER_IDLE_DEEPEST": "sleep"}
        async with hosting(tmp_path, machine, served(machine, env=env)) as pool:
            await until(lambda: rung(pool) == "idle/sleep", "asleep")
            await asyncio.sleep(0.2)  # what would come, came at once in the test before
            assert rung(pool) == "idle/sleep" and machine.driver.calls == []

    run(scenario())


def test_two_on_one_card_take_turns_and_lose_no_request(tmp_path, machine):
    async def scenario():
        pools = served(machine, "a"), served(machine, "b")
        async with hosting(tmp_path, machine, *pools) as pool:
            await until(lambda: [s for s in states(pool) if s == "idle"] == ["idle"] * 2, "both idle")
            for _ in range(5):
                assert await chat(pool, "a") == "hello"
                assert await chat(pool, "b") == "hello"
            answers = await asyncio.gather(*(chat(pool, "ab"[n % 2]) for n in range(12)))
            assert answers == ["hello"] * 12
            assert machine.cards.most <= CARD.total_bytes

    run(scenario())


def test_who_has_a_request_keeps_the_card_until_it_is_over(tmp_path, machine):
    async def scenario():
        async with hosting(tmp_path, machine, served(machine, "a"), served(machine, "b")) as pool:
            await until(lambda: states(pool) == ["idle"] * 2, "both idle")
            lease = await pool.acquire("a", "live")
            other = asyncio.create_task(chat(pool, "b"))
            await until(lambda: rung(pool, "b") == "waking/sleep", "b waits for the card")
            await asyncio.sleep(0.1)
            assert not other.done() and rung(pool, "a") == "busy/none"
            pool.release(lease)
            assert await other == "hello"

    run(scenario())


def test_one_that_is_never_without_a_request_lets_the_other_have_its_turn(tmp_path, machine):
    async def scenario():
        async with hosting(tmp_path, machine, served(machine, "a"), served(machine, "b")) as pool:
            await until(lambda: states(pool) == ["idle"] * 2, "both idle")
            is_over, served_a = asyncio.Event(), 0

            async def hammer(pause):
                nonlocal served_a
                await asyncio.sleep(pause)
                while not is_over.is_set():
                    lease = await pool.acquire("a", "live")
                    await get(lease.port, "/slow?seconds=0.1")
                    pool.release(lease)
                    served_a += 1

            clients = [asyncio.create_task(hammer(0.05 * n)) for n in range(4)]
            await asyncio.sleep(0.3)
            for _ in range(2):
                assert await asyncio.wait_for(chat(pool, "b"), 5) == "hello"
            before = served_a
            await until(lambda: served_a > before + 3, "a goes on")
            is_over.set()
            await asyncio.gather(*clients)

    run(scenario())


def test_the_next_host_takes_over_who_is_checkpointed(tmp_path, machine):
    async def scenario():
        async with hosting(tmp_path, machine, served(machine, env=DEEP), keep=True) as pool:
            await until(lambda: rung(pool) == "idle/checkpoint", "deep")
            (before,) = pool.instances()
        machine.driver.calls.clear()
        async with hosting(tmp_path, machine, served(machine, env=DEEP)) as pool:
            (after,) = pool.instances()
            assert (after.instance_id, after.pid) == (before.instance_id, before.pid)
            assert rung(pool) == "idle/checkpoint" and machine.used_mib() == 0
            assert await chat(pool) == "hello"
            assert machine.driver.calls == ["state", "restore", "unlock"]

    run(scenario())


def test_a_host_that_ended_in_the_middle_of_a_checkpoint_leaves_nobody_locked(tmp_path, machine):
    async def scenario():
        async with hosting(tmp_path, machine, served(machine, env=DEEP), keep=True) as pool:
            await until(lambda: rung(pool) == "idle/checkpoint", "deep")
            (view,) = pool.instances()
        told = machine.cards.folder / f"{view.pid}.driver"
        taken = json.loads(told.read_text())["taken"]
        told.write_text(json.dumps({"state": "locked", "taken": 0}))  # as if the call had not come
        machine.cards.put(view.pid, taken)
        async with hosting(tmp_path, machine, served(machine, env=DEEP)) as pool:
            assert await chat(pool) == "hello"
            assert json.loads(told.read_text())["state"] in ("running", "checkpointed")

    run(scenario())


def test_a_checkpoint_that_fails_is_undone_and_not_tried_again(tmp_path, machine):
    machine.driver.failing = ["checkpoint"]

    async def scenario():
        async with hosting(tmp_path, machine, served(machine, env=DEEP)) as pool:
            await until(lambda: "unlock" in machine.driver.calls, "undone")
            assert await chat(pool) == "hello"
            await until(lambda: rung(pool) == "idle/sleep", "asleep")
            await asyncio.sleep(0.2)
            assert machine.driver.calls.count("checkpoint") == 1 and machine.used_mib() == 1920

    run(scenario())


def test_a_restore_that_fails_costs_the_instance_and_not_the_request(tmp_path, machine):
    async def scenario():
        async with hosting(tmp_path, machine, served(machine, env=DEEP)) as pool:
            await until(lambda: rung(pool) == "idle/checkpoint", "deep")
            (before,) = pool.instances()
            machine.driver.failing = ["restore"]
            assert await chat(pool) == "hello"
            (after,) = [view for view in pool.instances() if view.state.value in ("ready", "busy", "idle")]
            assert after.instance_id != before.instance_id

    run(scenario())


def test_what_others_have_on_the_card_is_waited_for_and_told(tmp_path, machine, monkeypatch):
    monkeypatch.setattr(keeper, "CONFIRM_SECONDS", 0.2)

    async def scenario():
        async with hosting(tmp_path, machine, served(machine)) as pool:
            await until(lambda: rung(pool) == "idle/sleep", "asleep")
            foreign = machine.cards.folder / "1.json"  # a process of somebody else
            foreign.write_text(json.dumps({"cards": "0", "used": 60 * GIB}))
            assert await pool.wake("chat-dev", "live") == Woken(0, 1, 0)
            asked = asyncio.create_task(chat(pool))
            await until(lambda: rung(pool) == "waking/sleep", "the next try")
            await until(lambda: "cannot wake now" in pool.instances()[0].reason, "told")
            assert await pool.wake("chat-dev", "live") == Woken(0, 0, 0), "not put off with who waits longer"
            assert "MB are needed" in pool.instances()[0].reason or "GB" in pool.instances()[0].reason
            foreign.unlink()
            assert await asked == "hello"

    run(scenario())


def test_a_type_that_the_machine_has_not_is_refused_by_name(tmp_path):
    machine = Machine(tmp_path, Card(0, "GPU-s", "A small card", 16 * GIB))

    async def scenario():
        async with hosting(tmp_path, machine, served(machine)) as pool:
            await until(lambda: pool.status("chat-dev", "live").current_error != "", "told")
            said = pool.status("chat-dev", "live").current_error
            assert "49152 MB of fc.gpu.ada.1 needs 1 card with 48 GB each" in said
            with pytest.raises(Refused, match=r"49152 MB of fc\.gpu\.ada\.1"):
                await asyncio.wait_for(pool.acquire("chat-dev", "live"), 20)

    run(scenario())


def test_without_a_card_a_function_that_wants_one_is_refused_and_the_others_run(tmp_path):
    async def scenario():
        spec = on_gpu(function())
        declared = Declared(pool_of(spec, name="on-gpu"), pool_of(name="plain"))
        async with running(tmp_path, declared) as pool:
            await until(lambda: pool.status("on-gpu", "live").current_error != "", "told")
            said = pool.status("on-gpu", "live").current_error
            assert "49152 MB of fc.gpu.ada.1 cannot be had: this machine has no GPU" in said
            await until(lambda: pool.status("plain", "live").current == 1, "the other one")

    run(scenario())


def test_one_that_never_idles_keeps_its_card_and_the_second_one_is_told_so(tmp_path, machine):
    async def scenario():
        always = pool_of(on_gpu(function(*machine.arguments())), name="a", idle=False)
        async with hosting(tmp_path, machine, always) as pool:
            await until(lambda: states(pool) == ["ready"], "ready")
            pool._registry.pools = (always, served(machine, "b"))
            pool.notify()
            await until(lambda: pool.status("b", "live").current_error != "", "told")
            assert "beside what is reserved on them already" in pool.status("b", "live").current_error
            assert rung(pool, "a") == "ready/none"

    run(scenario())


def test_an_update_without_room_for_two_ends_the_old_one_first_and_says_so(tmp_path, machine):
    def always(revision):
        spec = on_gpu(function(*machine.arguments(60)))
        return pool_of(spec, revision=revision, idle=False)

    async def scenario():
        async with hosting(tmp_path, machine, always("r1")) as pool:
            await until(lambda: states(pool) == ["ready"], "ready")
            (before,) = pool.instances()
            pool._registry.pools = (always("r2"),)
            pool.notify()

            def is_new():
                return [v.instance_id for v in pool.instances() if v.state.value == "ready"] not in (
                    [],
                    [before.instance_id],
                )

            await until(is_new, "the new one")
            assert machine.cards.most <= CARD.total_bytes

    run(scenario())


def test_an_old_one_without_room_beside_it_ends_before_its_replacement_starts(tmp_path, machine):
    env = {"TICKOVER_MAX_AGE_SECONDS": "60"}
    spec = on_gpu(function(*machine.arguments(60), env=env))

    async def scenario():
        async with hosting(tmp_path, machine, pool_of(spec, idle=False)) as pool:
            await until(lambda: states(pool) == ["ready"], "ready")
            (before,) = pool.instances()
            pool._roster.instances[before.instance_id].created_mono_ns -= 61 * SECOND_NS
            pool.notify()
            await until(
                lambda: before.instance_id not in {v.instance_id for v in pool.instances()}, "its end"
            )
            await until(lambda: states(pool) == ["ready"], "the new one")
            assert pool.status("chat-dev", "live").current_error == ""
            assert machine.cards.most <= CARD.total_bytes

    run(scenario())


def test_cards_lines_for_the_status(tmp_path, machine):
    async def scenario():
        async with hosting(tmp_path, machine) as pool:
            (line,) = pool.gpus()
            assert "A simulated card, 80 GB" in line and "stands for" in line

    run(scenario())

"""A request that meets an instance while the driver takes it waits for the end of that, and is not lost."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from tests.support.host_core import function, pool_of, run, until
from tests.support.host_gpu_machine import Machine, hosting, on_gpu
from tickover.host.cards import Gpus
from tickover.host.gpu.simulated import SimulatedCheckpointer
from tickover.host.probe import ask


class Held(SimulatedCheckpointer):
    """Stops at a verb until it is let go on."""

    def __init__(self, driver, verb):
        super().__init__(driver)
        self._verb = verb
        self.began, self.may_go = asyncio.Event(), asyncio.Event()

    async def _do(self, verb, pid, call):
        if verb == self._verb:
            self.began.set()
            await self.may_go.wait()
        return await super()._do(verb, pid, call)


class SlowMachine(Machine):
    def __init__(self, folder, verb):
        super().__init__(folder)
        self.checkpointer = Held(self.driver, verb)

    def gpus(self) -> Gpus:
        return replace(super().gpus(), checkpointer=self.checkpointer)


async def chat(pool):
    lease = await pool.acquire("chat-dev", "live")
    try:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
        answer = await ask("127.0.0.1", lease.port, "POST", "/v1/chat/completions", 10.0, body)
        return lease.instance_id, json.loads(answer.body)["choices"][0]["message"]["content"]
    finally:
        pool.release(lease)


@pytest.mark.parametrize("verb", ["lock", "checkpoint"])
def test_a_request_in_the_middle_of_a_checkpoint_is_answered_by_the_same_instance(tmp_path, verb):
    async def scenario():
        machine = SlowMachine(tmp_path, verb)
        env = {"TICKOVER_IDLE_DEEP_AFTER_SECONDS": "0"}
        async with hosting(
            tmp_path, machine, pool_of(on_gpu(function(*machine.arguments(), env=env)))
        ) as pool:
            await machine.checkpointer.began.wait()
            (before,) = pool.instances()
            asked = asyncio.create_task(chat(pool))
            await until(lambda: pool.instances()[0].state.value == "waking", "waking")
            await asyncio.sleep(0.05)  # whatever would be done too early, is done by then
            assert not asked.done() and "restore" not in machine.driver.calls
            machine.checkpointer.may_go.set()
            assert await asked == (before.instance_id, "hello")
            assert machine.driver.calls.count("restore") == 1

    run(scenario())

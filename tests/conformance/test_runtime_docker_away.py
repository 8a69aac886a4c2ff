"""An engine that goes away and comes back while its containers run on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.support.docker_engine import Engine, docker_engine
from tests.support.docker_runtime import Rig, pushed, spec
from tests.support.host_core import run, until
from tickover.host.runtimes.base import Condition, ExitStatus, LaunchPlan, RuntimeFailed
from tickover.host.runtimes.docker import DockerRuntime
from tickover.host.runtimes.docker_config import DockerSettings

__all__ = ["docker_engine"]


def listening(runtime, ref):
    told: asyncio.Queue[ExitStatus] = asyncio.Queue()
    runtime.watch(ref, told.put_nowait)
    return told


class Relay:
    """A socket before the engine's that can be taken away while the containers run on."""

    def __init__(self, target: str, path: Path) -> None:
        self._target, self._path = target.removeprefix("unix://"), path
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = f"unix://{path}"

    async def up(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def down(self) -> None:
        assert self._server is not None
        self._server.close()
        self._path.unlink()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there, back = await asyncio.open_unix_connection(self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, back))
                group.create_task(pump(there, writer))
        except (asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            writer.close()
            back.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


@pytest.fixture
def on_relay(docker_engine: Engine, tmp_path):
    image = asyncio.run(pushed(docker_engine, "it/docker:1"))

    def start(scenario):
        async def main():
            relay = Relay(docker_engine.host, tmp_path / "engine.sock")
            await relay.up()
            settings = DockerSettings(str(tmp_path), relay.address)
            rig = Rig(DockerRuntime(settings, open_seconds=0.3), tmp_path, image, "")
            try:
                await scenario(rig, relay)
            finally:
                await rig.end()
                await relay.down()

        run(main())

    return start


def test_an_engine_that_is_away_is_said_and_what_runs_is_watched_again_when_it_is_back(on_relay):
    async def scenario(rig, relay):
        plan, ref = await rig.spawn(rig.server(), up=True)
        told = listening(rig.runtime, ref)
        await relay.down()
        assert "PORT=" in await rig.get(plan, "env")  # the instance knows nothing of it
        for act in (
            rig.runtime.freeze(ref),
            rig.runtime.thaw(ref),
            rig.runtime.collect(()),
            rig.runtime.spawn(rig.plan(rig.server()), lambda handle: None),
        ):
            with pytest.raises(RuntimeFailed, match=r"engine at unix://.* does not answer: No such file"):
                await act
        assert rig.runtime.condition(ref) is Condition.RUNNING
        await relay.up()
        await rig.runtime.freeze(ref)
        await rig.runtime.thaw(ref)
        assert told.empty()
        await rig.murder(ref)
        assert await told.get() == ExitStatus(signal="SIGKILL")

    on_relay(scenario)


def test_an_end_while_the_engine_is_away_is_told_when_it_is_back(on_relay):
    async def scenario(rig, relay):
        _, ref = await rig.spawn(rig.server(), up=True)
        told = listening(rig.runtime, ref)
        pid = await rig.pid(ref)
        await relay.down()
        os.kill(pid, 9)
        await asyncio.sleep(0.5)
        assert told.empty()
        await relay.up()
        assert await told.get() == ExitStatus(signal="SIGKILL")

    on_relay(scenario)


def test_a_stop_waits_for_the_engine(on_relay):
    async def scenario(rig, relay):
        plan, ref = await rig.spawn(rig.server(), up=True)
        pid = await rig.pid(ref)
        await relay.down()
        stop = asyncio.ensure_future(rig.stop(plan, grace=5.0))
        await asyncio.sleep(0.5)
        assert not stop.done() and Path(f"/proc/{pid}").exists()
        await relay.up()
        await stop
        assert not Path(f"/proc/{pid}").exists() and rig.runtime.condition(ref) is Condition.GONE

    on_relay(scenario)


def test_a_host_that_starts_without_its_engine_takes_its_containers_to_run_until_it_knows(on_relay):
    async def scenario(rig, relay):
        _, ref = await rig.spawn(rig.server(), up=True)
        _, dead = await rig.spawn(rig.server(), up=True)
        await rig.runtime.freeze(ref)
        await relay.down()
        settings = DockerSettings(str(rig.folder), relay.address)
        fresh = DockerRuntime(settings, open_seconds=0.3)
        await fresh.open([ref, dead])
        assert fresh.condition(ref) is fresh.condition(dead) is Condition.RUNNING
        assert "does not answer" in fresh.describe()
        told, ended = listening(fresh, ref), listening(fresh, dead)
        await relay.up()
        await rig.murder(dead)
        assert await ended.get() == ExitStatus(signal="SIGKILL")
        await until(lambda: fresh.condition(ref) is Condition.FROZEN, "what it really is")
        assert told.empty()
        await fresh.close()

    on_relay(scenario)


def stands_still(pid: int) -> bool:
    """Whether each of its threads has stopped; one may still be answering when the signal was sent."""
    states = [
        stat.read_text().rsplit(")", 1)[1].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return all(state == "T" for state in states)


def test_an_engine_that_hangs_is_given_up_on_and_stops_nobody_else(docker_engine: Engine, tmp_path):
    async def scenario():
        settings = DockerSettings(str(tmp_path), docker_engine.host, call_seconds=0.5)
        runtime = DockerRuntime(settings)
        await runtime.open([])
        assert runtime.describe().startswith("docker: engine ")
        try:
            os.kill(docker_engine.pid, signal.SIGSTOP)
            await until(lambda: stands_still(docker_engine.pid), "the engine's standstill")
            beats = 0
            work = asyncio.ensure_future(runtime.collect(()))
            while not work.done():
                await asyncio.sleep(0.01)
                beats += 1
            with pytest.raises(RuntimeFailed, match=r"no answer within 0\.5 s"):
                await work
            assert beats > 20
            await runtime.open([])
            assert "no answer within 0.5 s" in runtime.describe()
        finally:
            os.kill(docker_engine.pid, signal.SIGCONT)
        assert await answered(runtime) == ()
        await runtime.close()

    async def answered(runtime):
        """What it says once the engine has caught up with what it was asked while it stood still."""
        for _ in range(20):
            with contextlib.suppress(RuntimeFailed):
                return await runtime.collect(())
        return await runtime.collect(())

    run(scenario())


def test_an_engine_on_another_machine_is_refused(tmp_path):
    async def scenario():
        runtime = DockerRuntime(DockerSettings(str(tmp_path), "tcp://127.0.0.1:2375"))
        plan = LaunchPlan("i-1", spec(image="app:1"), 1, {}, tmp_path / "log", tmp_path)
        with pytest.raises(RuntimeFailed, match="must be unix://SOCKET"):
            await runtime.spawn(plan, lambda handle: None)
        await runtime.open([])
        assert "not on this machine" in runtime.describe()
        await runtime.close()

    run(scenario())

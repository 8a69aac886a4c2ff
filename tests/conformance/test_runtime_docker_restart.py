"""An engine that is restarted and takes its containers with it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import docker_engine as engines
from tests.support.docker_engine import BASE_IMAGE, import_image
from tests.support.docker_runtime import Rig
from tests.support.host_core import run
from tickover.host.runtimes import logs
from tickover.host.runtimes.base import Condition, ExitStatus
from tickover.host.runtimes.docker import DockerRuntime
from tickover.host.runtimes.docker_config import DockerSettings


def listening(runtime, ref):
    told: asyncio.Queue[ExitStatus] = asyncio.Queue()
    runtime.watch(ref, told.put_nowait)
    return told


def test_a_restarted_engine_has_ended_its_containers_and_that_is_told(tmp_path):
    reason = engines.missing()
    if reason:
        pytest.skip(reason)
    with ExitStack() as stack:
        bridge = stack.enter_context(engines._bridge())
        # Not in tmp_path: a socket's name has room for a hundred letters.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-")))

        async def scenario() -> None:
            first = stack.enter_context(contextlib.ExitStack())
            host, _ = first.enter_context(engines._dockerd(folder, bridge))
            image = await import_image(host, BASE_IMAGE)
            rig = Rig(DockerRuntime(DockerSettings(str(tmp_path), host)), tmp_path, image, "")
            plan, ref = await rig.spawn(rig.server(), up=True)
            told = listening(rig.runtime, ref)
            await asyncio.to_thread(first.close)
            (folder / "docker.sock").unlink(missing_ok=True)
            host, _ = await asyncio.to_thread(lambda: stack.enter_context(engines._dockerd(folder, bridge)))
            await told.get()
            assert rig.runtime.condition(ref) is Condition.GONE
            assert "polite" in logs.tail(plan.log_path) or "serving" in logs.tail(plan.log_path)
            await rig.stop(plan)
            again, _ = await rig.spawn(rig.server(), up=True)
            assert "PORT=" in await rig.get(again, "env")
            await rig.end()

        run(scenario())

"""Commands in containers of a real engine that take too long: they are ended with all they have started."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.test_runtime_both import sleeping
from tests.support.docker_engine import Engine, docker_engine, import_image
from tests.support.docker_runtime import Rig, docker_runtime, spec
from tests.support.host_core import run
from tickover.host.runtimes import procfs
from tickover.host.runtimes.base import Condition, RuntimeFailed

__all__ = ["docker_engine"]

SHELL, BARE = "base.test/shell:1", "base.test/bare:1"
# A tree: in the background, in a session of its own whose parent is gone, and with a cleaned environment.
TREE = (
    "busybox sleep 701 & (busybox setsid busybox sleep 702 &); busybox env -i busybox sleep 703 & "
    "busybox sleep 704"
)


@pytest.fixture
def on_rig(docker_engine: Engine, tmp_path):
    asyncio.run(import_image(docker_engine.host, SHELL, b"exec"))
    asyncio.run(import_image(docker_engine.host, BARE, programs=("sleep", "time")))

    def start(image, entrypoint, scenario):
        async def main():
            rig = Rig(docker_runtime(docker_engine, tmp_path), tmp_path, image, "")
            try:
                container = {"entrypoint": entrypoint, "command": None}
                plan, ref = await rig.spawn(spec(image=image, container=container))
                await scenario(rig, plan, ref)
                assert rig.runtime.condition(ref) is Condition.RUNNING and len(sleeping("799")) == 1
            finally:
                await rig.end()

        run(main())

    return start


async def too_long(rig, plan, ref, argv) -> str:
    with pytest.raises(RuntimeFailed) as failed:
        await rig.runtime.execute(ref, plan, argv, 0.6)
    return failed.value.reason


@pytest.fixture
def blind(monkeypatch):
    """A host that is not root: it may not read what other users' processes carry."""
    monkeypatch.setattr(procfs, "carrying", lambda variable, value: [])


def left() -> list[str]:
    return [seconds for seconds in ("701", "702", "703", "704", "711") if sleeping(seconds)]


def test_a_tree_of_processes_is_ended_and_the_instance_is_not(on_rig):
    async def scenario(rig, plan, ref):
        assert await too_long(rig, plan, ref, ["sh", "-c", TREE]) == "it had not ended after 0.6 s"
        assert left() == []

    on_rig(SHELL, ["sleep", "799"], scenario)


def test_a_tree_is_ended_in_an_image_without_a_shell(on_rig):
    async def scenario(rig, plan, ref):
        assert await too_long(rig, plan, ref, ["time", "sleep", "711"]) == "it had not ended after 0.6 s"
        assert left() == []

    on_rig(BARE, ["sleep", "799"], scenario)


def test_a_host_that_is_not_root_ends_them_by_the_images_shell(on_rig, blind):
    async def scenario(rig, plan, ref):
        script = "busybox sleep 701 & (busybox setsid busybox sleep 702 &); busybox sleep 704"
        assert await too_long(rig, plan, ref, ["sh", "-c", script]) == "it had not ended after 0.6 s"
        assert left() == []

    on_rig(SHELL, ["sleep", "799"], scenario)


def test_what_nobody_can_end_is_said_and_ends_with_the_instance(on_rig, blind):
    async def scenario(rig, plan, ref):
        said = await too_long(rig, plan, ref, ["time", "sleep", "711"])
        assert "may go on until its instance ends: this host cannot end" in said and "no shell" in said
        assert left() == ["711"]

    on_rig(BARE, ["sleep", "799"], scenario)
    assert left() == []

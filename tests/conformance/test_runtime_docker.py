"""Containers as instances on a real engine: what they are made with, whose they are, and an engine that
comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

import pytest

from tests.support.docker_engine import BASE_IMAGE, Engine, docker_engine
from tests.support.docker_runtime import Rig, docker_runtime, pushed, spec
from tests.support.host_core import run, until
from tickover.host.probe import connects
from tickover.host.runtimes import logs
from tickover.host.runtimes.base import Condition, ExitStatus, RuntimeFailed
from tickover.host.runtimes.docker_probe import listens_behind
from tickover.host.works import free_port

__all__ = ["docker_engine"]

GPU = {"gpuConfig": {"gpuType": "fc.gpu.ada.2", "gpuMemorySize": 49152}, "cpu": 16, "memorySize": 131072}


@pytest.fixture
def on_rig(docker_engine: Engine, tmp_path):
    image = asyncio.run(pushed(docker_engine, "it/docker:1"))

    def start(scenario):
        async def main():
            rig = Rig(docker_runtime(docker_engine, tmp_path), tmp_path, image, "")
            try:
                await scenario(rig)
            finally:
                await rig.end()
            async with docker_engine.client() as client:
                assert await client.containers.list(all=True) == []

        run(main())

    return start


async def shown(rig, ref):
    found = await rig.runtime._engine.inspect(ref)
    assert found is not None
    return found


def listening(runtime, ref):
    told: asyncio.Queue[ExitStatus] = asyncio.Queue()
    runtime.watch(ref, told.put_nowait)
    return told


def test_limits_labels_and_no_privileges_reach_the_engine(on_rig, tmp_path):
    (tmp_path / "models").mkdir()

    async def scenario(rig):
        function = rig.server(
            environmentVariables={"FCGPU_RUNTIME_SHMSIZE": "33554432"},
            nasConfig={"mountPoints": [{"serverAddr": "local:/models", "mountDir": "/mnt/models/"}]},
            cpu=16,
            memorySize=16384,
        )
        plan, ref = await rig.spawn(function, up=True)
        found = await shown(rig, ref)
        host, labels = found["HostConfig"], found["Config"]["Labels"]
        assert found["Name"] == f"/tickover-{plan.instance_id}"
        assert labels["io.tickover.owner"] == str(tmp_path)
        assert labels["io.tickover.instance"] == plan.instance_id
        assert labels["io.tickover.log"] == str(plan.log_path) and len(labels["io.tickover.spec"]) == 32
        assert host["NanoCpus"] == os.cpu_count() * 10**9  # an engine takes no more than there are
        assert host["Memory"] == host["MemorySwap"] == 16 * 1024**3
        assert host["ShmSize"] == 33554432
        assert host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges:true"]
        assert not host["Privileged"] and host["RestartPolicy"]["Name"] == "no"
        assert host["PortBindings"] == {"9123/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(plan.port)}]}
        assert host["LogConfig"]["Type"] == "json-file" and host["LogConfig"]["Config"]["max-file"] == "2"
        assert [(m["Destination"], m["RW"]) for m in found["Mounts"]] == [("/mnt/models", False)]
        status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
        assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
        assert host["DeviceRequests"] in (None, [])

    on_rig(scenario)


def test_the_port_is_on_the_loopback_only(on_rig):
    async def scenario(rig):
        plan, _ = await rig.spawn(rig.server(), up=True)
        text = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        fields = [line.split() for line in text.splitlines()]
        bound = [f[1] for f in fields if f[1].endswith(f":{plan.port:04X}") and f[3] == "0A"]
        assert bound == [f"0100007F:{plan.port:04X}"]

    on_rig(scenario)


def test_a_port_that_nobody_listens_behind_is_told_from_one_that_serves(on_rig):
    async def scenario(rig):
        plan, _ = await rig.spawn(spec("sleep 100", image=rig.image))
        assert await connects("127.0.0.1", plan.port, 1.0)  # the engine's forwarder
        assert not await listens_behind("127.0.0.1", plan.port, 1.0)
        serving, _ = await rig.spawn(rig.server(), up=True)
        assert await listens_behind("127.0.0.1", serving.port, 1.0)
        assert not await listens_behind("127.0.0.1", free_port("127.0.0.1", set()), 1.0)

    on_rig(scenario)


def test_the_images_own_command_is_used_where_the_function_has_none(on_rig, docker_engine: Engine):
    async def scenario(rig):
        async with docker_engine.client() as client:
            made = await client.containers.create(
                {"Image": BASE_IMAGE, "Entrypoint": ["echo", "own"], "Cmd": ["words"]}, name="own-words"
            )
            await made.commit(repository="127.0.0.1/own", tag="1")
            await made.delete()
            image = (await client.images.inspect("127.0.0.1/own:1"))["Id"]
        for container, line in (
            ({"entrypoint": None, "command": None}, "own words"),
            ({"entrypoint": None, "command": ["others"]}, "own others"),
            ({"entrypoint": ["echo", "mine"], "command": None}, "mine"),
        ):
            plan, ref = await rig.spawn(spec(image=image, container=container))
            assert await listening(rig.runtime, ref).get() == ExitStatus(code=0)
            assert logs.tail(plan.log_path).splitlines()[-1] == line

    on_rig(scenario)


def test_an_engine_without_gpus_says_so_and_nothing_is_left(on_rig):
    async def scenario(rig):
        recorded = []
        plan = rig.plan(spec(image=rig.image, **GPU))
        with pytest.raises(RuntimeFailed, match=r"cannot give any.*nvidia-container-toolkit"):
            await rig.runtime.spawn(plan, recorded.append)
        assert rig.runtime.condition(recorded[0].ref) is Condition.GONE

    on_rig(scenario)


@pytest.mark.parametrize(
    "entrypoint, why",
    [
        (["no-such-program"], "is not in the image"),
        (["/bin/none"], "is not in the image"),
        (["/etc"], "is not a program that may be run"),
    ],
)
def test_a_command_that_is_not_in_the_image_is_named_at_once(on_rig, entrypoint, why):
    async def scenario(rig):
        plan = rig.plan(spec(image=rig.image, container={"entrypoint": entrypoint, "command": None}))
        with pytest.raises(RuntimeFailed, match=why):
            await rig.runtime.spawn(plan, lambda handle: None)

    on_rig(scenario)


def test_a_port_that_was_taken_meanwhile_is_said(on_rig):
    async def scenario(rig):
        plan = rig.plan(rig.server())
        with socket.socket() as other:
            other.bind(("127.0.0.1", plan.port))
            other.listen()
            with pytest.raises(RuntimeFailed, match="was taken meanwhile"):
                await rig.runtime.spawn(plan, lambda handle: None)

    on_rig(scenario)


def test_one_that_is_too_large_for_its_memory_says_so_in_its_log(on_rig):
    async def scenario(rig):
        plan, ref = await rig.spawn(
            spec("x=aaaaaaaa; while :; do x=$x$x; done", image=rig.image, cpu=1, memorySize=128)
        )
        assert await listening(rig.runtime, ref).get() == ExitStatus(signal="SIGKILL")
        assert "killed for using more than its memorySize, 128 MB" in logs.tail(plan.log_path)

    on_rig(scenario)


def test_one_that_somebody_else_removes_has_ended(on_rig, docker_engine: Engine):
    async def scenario(rig):
        _, ref = await rig.spawn(rig.server(), up=True)
        told = listening(rig.runtime, ref)
        async with docker_engine.client() as client:
            await client.containers.container(ref).delete(force=True)
        assert await told.get() in (ExitStatus(), ExitStatus(signal="SIGKILL"))
        assert rig.runtime.condition(ref) is Condition.GONE

    on_rig(scenario)


# -- logs --------------------------------------------------------------------------------------------------


def test_a_log_goes_on_under_a_later_host_with_nothing_lost_and_nothing_twice(
    on_rig, docker_engine, tmp_path
):
    script = "n=0; while [ $n -lt 400 ]; do echo line $n; n=$((n+1)); busybox usleep 5000; done; sleep 99"

    async def scenario(rig):
        plan, ref = await rig.spawn(spec(script, image=rig.image))
        await until(lambda: "line 40" in plan.log_path.read_text(), "some lines")
        await rig.runtime.close()
        had = plan.log_path.read_text().count("\n")
        await asyncio.sleep(0.3)  # it writes while no host is there
        fresh = docker_runtime(docker_engine, tmp_path)
        await fresh.open([ref])
        fresh.watch(ref, lambda status: None)
        await until(lambda: "line 399" in plan.log_path.read_text(), "the last line")
        lines = [line for line in plan.log_path.read_text().splitlines() if line.startswith("line")]
        assert had < 390 and lines == [f"line {n}" for n in range(400)]
        await fresh.close()

    on_rig(scenario)


def test_long_lines_and_any_bytes_reach_the_log_and_it_can_be_cut(on_rig):
    script = (
        "n=0; x=0123456789abcdef; while [ $n -lt 11 ]; do x=$x$x; n=$((n+1)); done; echo $x;"
        " printf 'gr\\303\\274\\303\\237e\\n\\377\\n'; echo error >&2;"
        " while [ ! -e /tmp/go ]; do sleep 0.1; done; echo after"
    )

    async def scenario(rig):
        plan, ref = await rig.spawn(spec(script, image=rig.image))
        long, bytes_ = b"0123456789abcdef" * 2048 + b"\n", "grüße\n\ufffd\n".encode()  # kept as JSON
        for lines in (long, bytes_, b"error\n"):  # the engine keeps the order of one stream, not of the two
            await until(lambda lines=lines: lines in plan.log_path.read_bytes(), "the lines")
        assert logs.cut(plan.log_path, 1000)
        Path(f"/proc/{await rig.pid(ref)}/root/tmp/go").touch()
        assert await listening(rig.runtime, ref).get() == ExitStatus(code=0)
        assert plan.log_path.read_text() == "after\n"

    on_rig(scenario)


# -- whose it is -------------------------------------------------------------------------------------------

KILLED_HOST = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.support.docker_runtime import spec
from tickover.host.runtimes.base import LaunchPlan
from tickover.host.runtimes.docker import DockerRuntime
from tickover.host.runtimes.docker_config import DockerSettings

address, folder, image = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
plan = LaunchPlan("i-orphan", spec(image=image), 1, {}, folder / "log", folder)
runtime = DockerRuntime(DockerSettings(str(folder), address))
asyncio.run(runtime.spawn(plan, lambda handle: os.kill(os.getpid(), signal.SIGKILL)))
"""


def test_what_a_killed_host_had_not_recorded_is_collected_and_never_ran(on_rig, docker_engine, tmp_path):
    async def scenario(rig):
        await rig.spawn(rig.server(), up=True)  # claimed below by being watched
        host = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", KILLED_HOST, docker_engine.host, str(tmp_path), rig.image),
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert await host.wait() == -9
        async with docker_engine.client() as client:
            left = await client.containers.container("tickover-i-orphan").show()
        assert left["State"]["Status"] == "created"
        fresh = docker_runtime(docker_engine, tmp_path)
        await fresh.open([left["Id"]])
        assert fresh.condition(left["Id"]) is Condition.GONE  # recorded or not, it never ran
        claimed = [handle.ref for handle in rig.handles.values()]
        assert await fresh.collect(claimed) == ("i-orphan",)
        assert await fresh.collect(claimed) == ()
        await fresh.close()

    on_rig(scenario)


def test_only_what_is_this_hosts_and_unclaimed_is_collected(on_rig, docker_engine: Engine, tmp_path):
    async def scenario(rig):
        kept, _ = await rig.spawn(rig.server(), up=True)
        other = Rig(docker_runtime(docker_engine, tmp_path / "other"), tmp_path / "other", rig.image, "")
        foreign, _ = await other.spawn(rig.server(), up=True)
        async with docker_engine.client() as client:
            stranger = await client.containers.create({"Image": BASE_IMAGE, "Cmd": ["sleep", "99"]})
            await stranger.start()
            assert await rig.runtime.collect(()) == ()  # what it has started itself is claimed
            fresh = docker_runtime(docker_engine, tmp_path)
            assert await fresh.collect(()) == (kept.instance_id,)
            await fresh.close()
            assert (await stranger.show())["State"]["Running"]
            await stranger.delete(force=True)
        assert "PORT=" in await other.get(foreign, "env")
        await other.end()

    on_rig(scenario)


def test_a_start_that_is_cancelled_leaves_nothing(on_rig, docker_engine: Engine):
    async def scenario(rig):
        for patience in (0.0, 0.02, 0.05, 0.1, 0.2):
            plan = rig.plan(rig.server())
            start = asyncio.ensure_future(rig.runtime.spawn(plan, lambda handle: None))
            await asyncio.sleep(patience)
            start.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                rig.handles[plan.instance_id] = await start

        async with docker_engine.client() as client:
            assert len(await client.containers.list(all=True)) == len(rig.handles)

    on_rig(scenario)


def test_a_name_that_another_container_has_is_left_to_it(on_rig, docker_engine: Engine):
    async def scenario(rig):
        plan = rig.plan(rig.server())
        async with docker_engine.client() as client:
            name = f"tickover-{plan.instance_id}"
            other = await client.containers.create({"Image": BASE_IMAGE, "Cmd": ["sleep", "9"]}, name=name)
            with pytest.raises(RuntimeFailed, match="already in use"):
                await rig.runtime.spawn(plan, lambda handle: None)
            assert (await other.show())["Name"] == f"/{name}"
            await other.delete(force=True)

    on_rig(scenario)

"""NFS exports and named volumes of containers, on a real engine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.docker_engine import Engine, docker_engine
from tests.support.docker_runtime import Rig, docker_runtime, pushed
from tests.support.host_core import run
from tickover.host.runtimes.base import RuntimeFailed
from tickover.host.runtimes.docker_config import OWNER_LABEL
from tickover.host.runtimes.docker_mounts import NFS_OPTIONS

__all__ = ["docker_engine"]

EXPORT = "127.0.0.1:/export/models"  # nobody serves it
HAS_NFS = "nfs" in Path("/proc/filesystems").read_text().split()


@pytest.fixture
def on_rig(docker_engine: Engine, tmp_path):
    image = asyncio.run(pushed(docker_engine, "it/mounts:1"))

    def start(scenario):
        async def main():
            rig = Rig(docker_runtime(docker_engine, tmp_path), tmp_path, image, "")
            try:
                await scenario(rig)
            finally:
                await rig.end()

        run(main())

    return start


def mounted(rig, *points):
    """A server with these (address, folder) mounts that reads a file of the first."""
    config = {"mountPoints": [{"serverAddr": address, "mountDir": folder} for address, folder in points]}
    return rig.server(points[0][1], nasConfig=config)


async def volumes(client, owner):
    filters = json.dumps({"label": [f"{OWNER_LABEL}={owner}"]})
    return (await client._query_json("volumes", params={"filters": filters}))["Volumes"] or []


def test_an_export_that_cannot_be_mounted_is_told_with_the_reason_and_leaves_nothing(
    on_rig, docker_engine, tmp_path
):
    async def scenario(rig):
        async with docker_engine.client() as client:
            for _ in range(2):
                with pytest.raises(RuntimeFailed) as failed:
                    await rig.spawn(mounted(rig, (EXPORT, "/mnt/models")))
                said = failed.value.reason
                assert "a NAS of image" in said and "could not be mounted" in said
                assert "tickover doctor" in said and "/export/models" in said
                if not HAS_NFS:
                    assert "no such device" in said and "modprobe nfs" in said
                assert not await rig.runtime._engine.labelled(OWNER_LABEL, str(tmp_path))
            [volume] = await volumes(client, tmp_path)  # one for both
            assert volume["Driver"] == "local" and volume["Name"].startswith("tickover-nfs-")
            assert volume["Options"] == {
                "type": "nfs",
                "o": f"addr=127.0.0.1,{NFS_OPTIONS}",
                "device": ":/export/models",
            }
            await client.volumes.create({"Name": "somebodys", "Labels": {OWNER_LABEL: "/elsewhere"}})
            await rig.spawn(rig.server(), up=True)
            assert await rig.runtime.collect(()) == ()
            assert await volumes(client, tmp_path) == []
            assert [v["Name"] for v in await volumes(client, "/elsewhere")] == ["somebodys"]

    on_rig(scenario)


def test_a_named_volume_is_read_only_and_is_not_made(on_rig, docker_engine):
    async def scenario(rig):
        with pytest.raises(
            RuntimeFailed, match=r"volume it-models is not on the engine \(docker volume create"
        ):
            await rig.spawn(mounted(rig, ("volume:/it-models", "/mnt/models")))
        async with docker_engine.client() as client:
            made = await client.volumes.create({"Name": "it-models"})
            folder = Path((await made.show())["Mountpoint"])
            (folder / "weights").write_text("of the volume")
            plan, _ = await rig.spawn(mounted(rig, ("volume:/it-models", "/mnt/models")), up=True)
            assert await rig.get(plan, "read") == "of the volume"
            assert (await rig.get(plan, "write")).strip() != "0"
            assert not (folder / "new").exists()
            await rig.stop(plan)
            await rig.runtime.collect(())
            assert folder.exists()  # somebody's
            await made.delete()

    on_rig(scenario)


def test_tls_of_an_export_is_refused_by_name(on_rig):
    async def scenario(rig):
        config = {"mountPoints": [{"serverAddr": EXPORT, "mountDir": "/mnt/models", "enableTLS": True}]}
        with pytest.raises(RuntimeFailed, match=r"enableTLS of 127.0.0.1:/export/models: .*--nas NAME=DIR"):
            await rig.spawn(rig.server(nasConfig=config))

    on_rig(scenario)

"""Containers of the docker provider on a real engine, from nothing to nothing."""

from __future__ import annotations

import asyncio
import socket

import aiodocker
import pytest

from tests.support.docker_engine import BASE_IMAGE, Engine, docker_engine, free_port
from tests.support.docker_provider import Object, driver, urn
from tickover.engine.provider import DiffKind, InitFailed
from tickover.engine.values import Secret
from tickover.errors import Exit, TickoverError

__all__ = ["docker_engine"]

SLEEPS = {"image": BASE_IMAGE, "command": ["sleep", "1000"], "mustRun": True, "destroyGraceSeconds": 0}


async def shown(engine: Engine, id: str):
    async with engine.client() as client:
        try:
            return await client.containers.container(id).show()
        except aiodocker.DockerError as error:
            assert error.status == 404
            return None


def test_a_container_lives_from_create_to_delete(docker_engine: Engine):
    async def life() -> None:
        async with driver(docker_engine.config) as d:
            web = await d.create(
                "Container", **SLEEPS, labels=[{"label": "a", "value": "b"}], restart="always"
            )
            assert web.inputs["name"].startswith("it-")
            found = await shown(docker_engine, web.id)
            assert found["State"]["Running"] and found["Name"] == f"/{web.inputs['name']}"
            assert found["Config"]["Labels"] == {"a": "b", "extra": "no"}
            assert web.outputs["image"] == found["Image"]
            assert web.outputs["networkDatas"][0]["ipAddress"].startswith("10.213.")
            assert (
                await d.diff(web, **SLEEPS, labels=[{"label": "a", "value": "b"}], restart="always")
            ).changes is False
            again = await d.refresh(web)
            assert again.inputs == web.inputs and again.outputs == web.outputs
            await d.delete(web)
            assert await shown(docker_engine, web.id) is None
            assert (await d.read(web)).id == ""
            await d.delete(web)

    asyncio.run(life())


def test_ports_volumes_mounts_networks_and_limits_reach_the_container(docker_engine: Engine):
    async def life() -> None:
        port = free_port()
        async with driver(docker_engine.config) as d:
            net = await d.create("Network", "net", labels=[{"label": "x", "value": "y"}])
            other = await d.create("Network", "other")
            vol = await d.create("Volume", "vol")
            web = await d.create(
                "Container",
                image=BASE_IMAGE,
                name="everything",
                entrypoints=["httpd", "-f", "-p"],
                command=["8080"],
                hostname="inside",
                workingDir="/tmp",
                user="0:0",
                envs=["MODE=test", Secret("TOKEN=topsecretvalue")],
                ports=[{"internal": 8080, "external": port, "ip": "127.0.0.1"}, {"internal": 9090}],
                volumes=[
                    {"volumeName": vol.id, "containerPath": "/data", "readOnly": True},
                    {"containerPath": "/anon"},
                ],
                mounts=[{"type": "tmpfs", "target": "/fast", "tmpfsOptions": {"sizeBytes": 1048576}}],
                tmpfs={"/scratch": "rw"},
                networksAdvanced=[
                    {"name": net.inputs["name"], "aliases": ["web"]},
                    {"name": other.inputs["name"]},
                ],
                capabilities={"adds": ["NET_ADMIN"], "drops": ["MKNOD"]},
                memory=64,
                cpuShares=512,
                cpus="0.5",
                shmSize=32,
                init=True,
                restart="on-failure",
                maxRetryCount=3,
                ulimits=[{"name": "nofile", "soft": 64, "hard": 128}],
                hosts=[{"host": "friend", "ip": "10.0.0.9"}],
                sysctls={"net.core.somaxconn": "100"},
                stopSignal="SIGKILL",
                stopTimeout=1,
                logDriver="json-file",
                logOpts={"max-size": "1m"},
            )
            found = await shown(docker_engine, web.id)
            host, config = found["HostConfig"], found["Config"]
            assert {"MODE=test", "TOKEN=topsecretvalue"} <= set(config["Env"])
            assert config["Hostname"] == "inside" and config["WorkingDir"] == "/tmp"
            assert host["Memory"] == 64 * 1024**2 and host["ShmSize"] == 32 * 1024**2
            assert host["NanoCpus"] == 500_000_000 and host["CpuShares"] == 512
            assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
            assert host["CapAdd"] == ["NET_ADMIN"] and host["CapDrop"] == ["MKNOD"]
            assert host["Init"] is True and host["ExtraHosts"] == ["friend:10.0.0.9"]
            assert host["Ulimits"] == [{"Name": "nofile", "Soft": 64, "Hard": 128}]
            assert {m["Destination"] for m in found["Mounts"]} == {"/data", "/anon", "/fast"}
            assert set(found["NetworkSettings"]["Networks"]) == {net.inputs["name"], other.inputs["name"]}
            assert "web" in found["NetworkSettings"]["Networks"][net.inputs["name"]]["Aliases"]
            first, second = web.outputs["ports"]
            assert first["external"] == port and second["external"] > 1024
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert client.recv(64).startswith(b"HTTP/1")
            again = await d.refresh(web)
            assert again.inputs == web.inputs
            assert isinstance(again.outputs["envs"][1], Secret)
            with pytest.raises(TickoverError) as error:
                await d.delete(vol)
            assert error.value.code == "still-in-use" and "everything" in error.value.detail
            for thing in (web, net, other, vol):
                await d.delete(thing)
            assert (await d.read(net)).id == "" and (await d.read(vol)).id == ""

    asyncio.run(life())


def test_what_docker_can_change_changes_in_place_and_the_rest_replaces(docker_engine: Engine):
    async def life() -> None:
        async with driver(docker_engine.config) as d:
            web = await d.create("Container", **SLEEPS, memory=32)
            change = await d.diff(web, **SLEEPS, memory=48, cpuShares=256, restart="always")
            assert change.changes and change.replaces == ()
            web = await d.update(web, **SLEEPS, memory=48, cpuShares=256, restart="always")
            host = (await shown(docker_engine, web.id))["HostConfig"]
            assert host["Memory"] == 48 * 1024**2 and host["CpuShares"] == 256
            assert host["MemorySwap"] in (-1, 96 * 1024**2)
            assert host["RestartPolicy"]["Name"] == "always"
            assert (await d.refresh(web)).inputs == web.inputs
            replaced = await d.diff(web, **{**SLEEPS, "command": ["sleep", "5"]}, memory=48)
            assert {"command", "cpuShares"} == set(replaced.replaces) and replaced.delete_before_replace
            assert replaced.detailed["command[1]"].kind is DiffKind.UPDATE_REPLACE
            assert replaced.detailed["restart"].kind is DiffKind.UPDATE
            await d.delete(web)

    asyncio.run(life())


def test_drift_that_docker_reports_is_seen(docker_engine: Engine):
    async def life() -> None:
        async with driver(docker_engine.config) as d, docker_engine.client() as client:
            net = await d.create("Network", "joined")
            declared = {**SLEEPS, "memory": 32, "networksAdvanced": [{"name": net.inputs["name"]}]}
            web = await d.create("Container", **declared)
            live = client.containers.container(web.id)
            await client._query_json(
                f"containers/{web.id}/update", "POST", data={"RestartPolicy": {"Name": "always"}}
            )
            drift = await d.refresh(web)
            assert drift.inputs["restart"] == "always"
            change = await d.diff(drift, **declared)
            assert list(change.detailed) == ["restart"] and change.replaces == ()
            web = await d.update(drift, **declared)
            assert (await d.refresh(web)).inputs["restart"] == "no"

            await (await client.networks.get(net.id)).disconnect({"Container": web.id})
            change = await d.diff(await d.refresh(web), **declared)
            assert change.replaces == ("networksAdvanced",)

            await live.stop(t=0)
            stopped = await d.refresh(web)
            assert stopped.inputs["mustRun"] is False and stopped.outputs["exitCode"] == 137
            assert "mustRun" in (await d.diff(stopped, **declared)).replaces

            await live.delete(force=True)
            assert (await d.read(web)).id == ""
            await d.delete(net)

    asyncio.run(life())


def test_an_existing_container_can_be_imported_and_then_needs_nothing(docker_engine: Engine):
    async def life() -> None:
        async with driver(docker_engine.config) as d, docker_engine.client() as client:
            config = {
                "Image": BASE_IMAGE,
                "Cmd": ["sleep", "999"],
                "Env": ["A=1"],
                "Labels": {"team": "blue"},
                "ExposedPorts": {"80/tcp": {}},
                "HostConfig": {
                    "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(free_port())}]},
                    "RestartPolicy": {"Name": "unless-stopped"},
                    "Memory": 32 * 1024**2,
                    "NanoCpus": 250_000_000,
                    "Binds": ["/tmp:/host:ro"],
                },
            }
            made = await client.containers.create(config, name="found")
            await made.start()
            found = await d.imported("Container", "found")
            assert found.id == made.id
            inputs = {k: v for k, v in found.inputs.items() if k != "__defaults"}
            assert inputs["image"] == BASE_IMAGE and inputs["command"] == ["sleep", "999"]
            assert inputs["envs"] == ["A=1"] and inputs["labels"] == [{"label": "team", "value": "blue"}]
            assert (
                inputs["memory"] == 32 and inputs["cpus"] == "0.25" and inputs["restart"] == "unless-stopped"
            )
            assert inputs["volumes"] == [{"hostPath": "/tmp", "containerPath": "/host", "readOnly": True}]
            web = Object(urn("Container"), found.id, found.inputs, found.outputs)
            assert (await d.diff(web, **inputs)).changes is False
            await d.delete(web)

    asyncio.run(life())


def test_a_container_that_ends_at_once_is_removed_and_its_last_lines_are_told(docker_engine: Engine):
    async def life() -> None:
        async with driver(docker_engine.config) as d:
            with pytest.raises(TickoverError) as error:
                await d.create(
                    "Container",
                    image=BASE_IMAGE,
                    name="short",
                    envs=[Secret("PASS=hunter2hunter2")],
                    command=["sh", "-c", "echo no luck $PASS; exit 3"],
                )
            assert error.value.code == "container-ended"
            assert "code 3" in error.value.detail and "no luck [secret]" in error.value.detail
            assert "hunter2" not in str(error.value)
            assert await shown(docker_engine, "short") is None
            job = await d.create("Container", image=BASE_IMAGE, name="job", command=["true"], mustRun=False)
            assert (await d.refresh(job)).outputs["exitCode"] == 0
            await d.delete(job)

    asyncio.run(life())


def test_wait_waits_for_health_and_keeps_what_is_not_healthy(docker_engine: Engine):
    async def life() -> None:
        probe = {
            "tests": ["CMD-SHELL", "test -f /tmp/ready"],
            "interval": "200ms",
            "timeout": "5s",
            "retries": 2,
        }
        ready = ["sh", "-c", "sleep 0.4; touch /tmp/ready; exec sleep 1000"]
        async with driver(docker_engine.config) as d:
            web = await d.create("Container", image=BASE_IMAGE, command=ready, healthcheck=probe, wait=True)
            assert (await shown(docker_engine, web.id))["State"]["Health"]["Status"] == "healthy"
            assert any("to be healthy" in line and ephemeral for _, line, ephemeral in d.lines)
            await d.delete(web)
            with pytest.raises(InitFailed) as failed:
                await d.create("Container", **SLEEPS, healthcheck=probe, wait=True, waitTimeout=1)
            assert "after 1 s" in failed.value.reasons[0]
            kept = Object(urn("Container"), failed.value.id, failed.value.inputs, failed.value.outputs)
            assert (await shown(docker_engine, kept.id))["State"]["Running"]
            await d.delete(kept)
            with pytest.raises(InitFailed) as failed:
                await d.create("Container", **SLEEPS, wait=True)
            assert "no healthcheck" in failed.value.reasons[0]
            await d.delete(Object(urn("Container"), failed.value.id, failed.value.inputs, {}))

    asyncio.run(life())


def test_a_taken_name_and_a_taken_port_name_their_holder_and_leave_nothing(docker_engine: Engine):
    async def life() -> None:
        port = {"internal": 80, "external": free_port(), "ip": "127.0.0.1"}
        async with driver(docker_engine.config) as d:
            first = await d.create("Container", **SLEEPS, name="holder", ports=[port])
            with pytest.raises(TickoverError) as error:
                await d.create("Container", **SLEEPS, name="holder")
            assert error.value.code == "name-taken"
            assert first.id[:12] in error.value.detail and BASE_IMAGE in error.value.detail
            assert (
                error.value.hint == f"tickover import docker:index/container:Container NAME {first.id[:12]}"
            )
            with pytest.raises(TickoverError) as error:
                await d.create("Container", **SLEEPS, name="second", ports=[port])
            assert error.value.code == "port-taken"
            assert f"Port {port['external']} belongs to container holder." in error.value.detail
            assert await shown(docker_engine, "second") is None
            await d.delete(first)

    asyncio.run(life())


def test_cancel_ends_a_wait_and_keeps_the_container_in_the_state(docker_engine: Engine):
    async def life() -> None:
        probe = {"tests": ["CMD", "false"], "interval": "1s"}
        waits = asyncio.Event()

        def heard(line: str) -> None:
            if "to be healthy" in line:
                waits.set()

        async with driver(docker_engine.config, heard) as d:
            work = asyncio.ensure_future(d.create("Container", **SLEEPS, healthcheck=probe, wait=True))
            await waits.wait()
            await d.provider.cancel()
            with pytest.raises(InitFailed) as failed:
                await work
            assert "cancelled" in failed.value.reasons[0]
        async with driver(docker_engine.config) as d:
            await d.delete(Object(urn("Container"), failed.value.id, failed.value.inputs, {}))

    asyncio.run(life())


def test_an_image_that_nobody_has_and_an_engine_that_is_not_there(docker_engine: Engine):
    async def life() -> None:
        async with driver(docker_engine.config) as d:
            with pytest.raises(TickoverError) as error:
                await d.create("Container", image=f"{docker_engine.registry}/nothing:1", name="none")
            assert error.value.code == "image-not-found"
        async with driver({"host": f"unix://{docker_engine.folder}/nobody.sock"}) as d:
            with pytest.raises(TickoverError) as error:
                await d.create("Volume")
            assert error.value.code == "docker-unreachable" and error.value.exit_code is Exit.CONFIGURATION
            assert "nobody.sock" in error.value.detail and "systemctl start docker" in error.value.hint

    asyncio.run(life())

"""A program written with pulumi_docker, deployed by tickover on a real engine, and handed to the real CLI."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.docker_engine import BASE_IMAGE, PASSWORD, USER, Engine, docker_engine, free_port
from tests.support.real_pulumi import OURS, REAL, ROOT, STACK, Workspace, cli_binary
from tickover.provider.docker.tables import (
    CONTAINER,
    NETWORK,
    REGISTRY_IMAGE,
    REMOTE_IMAGE,
    TAG,
    VOLUME,
)

__all__ = ["docker_engine"]

SDK = importlib.util.find_spec("pulumi_docker")
PROGRAMS = ROOT / "tests/programs/docker-stack"

needs_sdk = pytest.mark.skipif(
    SDK is None, reason="pulumi-docker is not installed: pip install pulumi-docker"
)


def workspace(folder: Path, engine: Engine) -> Workspace:
    assert SDK is not None and SDK.origin is not None
    path = os.pathsep.join([str(Path(SDK.origin).parents[1]), str(ROOT)])
    space = Workspace(folder, env={"PYTHONPATH": path})
    space.write_config(
        {"host": engine.host, "registry": engine.registry, "base": BASE_IMAGE, "port": str(free_port())}
    )
    space.init(OURS)
    space.ok(OURS, "config", "set", "-s", STACK, "--secret", "password", PASSWORD)
    return space


def outputs(space: Workspace) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(space.ok(OURS, "stack", "output", "-s", STACK, "--json").out)
    return loaded


async def containers(engine: Engine) -> dict[str, str]:
    """Name → id of all containers."""
    async with engine.client() as client:
        return {c["Names"][0].lstrip("/"): c.id for c in await client.containers.list(all=True)}


@needs_sdk
def test_a_program_of_pulumi_docker_is_deployed_changed_and_destroyed(docker_engine: Engine, tmp_path: Path):
    space = workspace(tmp_path, docker_engine)
    space.use(PROGRAMS / "one")
    up = space.operate(OURS, "up")
    assert PASSWORD not in up.said
    told = outputs(space)
    assert told["driver"] == "bridge" and str(told["address"]).startswith("10.214.")
    assert PASSWORD not in str(told)
    assert asyncio.run(containers(docker_engine))[str(told["container"])] == told["id"]
    port = space.ok(OURS, "config", "get", "-s", STACK, "port").out.strip()
    with pytest.raises(urllib.error.HTTPError, match="404"):  # busybox's httpd has no page to show
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
    space.operate(OURS, "preview", "--expect-no-changes")
    space.operate(OURS, "up", "--expect-no-changes")
    space.operate(OURS, "refresh", "--expect-no-changes")

    space.use(PROGRAMS / "two")
    space.operate(OURS, "up")
    assert outputs(space)["id"] == told["id"], "memory changes in place"

    async def limit() -> int:
        async with docker_engine.client() as client:
            shown = await client.containers.container(str(told["id"])).show()
            memory: int = shown["HostConfig"]["Memory"]
            return memory

    assert asyncio.run(limit()) == 48 * 1024 * 1024
    space.operate(OURS, "destroy")
    assert asyncio.run(containers(docker_engine)) == {}
    assert space.export(OURS)["deployment"].get("resources", [])[1:] == []


@needs_sdk
def test_the_default_provider_is_configured_by_the_stack(docker_engine: Engine, tmp_path: Path):
    space = workspace(tmp_path, docker_engine)
    space.write_config({"docker:host": docker_engine.host})
    login = [{"address": docker_engine.registry, "username": USER, "password": PASSWORD}]
    space.ok(OURS, "config", "set", "-s", STACK, "--secret", "docker:registryAuth", json.dumps(login))
    space.use(PROGRAMS / "default")
    space.operate(OURS, "up")
    assert str(outputs(space)["digest"]).startswith("sha256:")
    space.operate(OURS, "preview", "--expect-no-changes")
    state = space.ok(OURS, "stack", "export", "-s", STACK).out
    assert PASSWORD not in state and PASSWORD not in (space.root / f"Pulumi.{STACK}.yaml").read_text()
    space.operate(OURS, "destroy")


@needs_sdk
def test_what_was_made_by_hand_is_taken_in_by_import(docker_engine: Engine, tmp_path: Path):
    async def by_hand() -> str:
        async with docker_engine.client() as client:
            await client.volumes.create({"Name": "by-hand"})
            config = {
                "Image": BASE_IMAGE,
                "Cmd": ["sleep", "1000"],
                "HostConfig": {"RestartPolicy": {"Name": "always"}},
            }
            container = await client.containers.create(config, name="by-hand")
            await container.start()
            id: str = container.id
            return id

    id = asyncio.run(by_hand())
    space = workspace(tmp_path, docker_engine)
    space.write_config({"docker:host": docker_engine.host})
    space.use(PROGRAMS / "imported")
    clash = space.operate(OURS, "up", check=False)
    assert (
        clash.code != 0 and f"tickover import docker:index/container:Container NAME {id[:12]}" in clash.said
    )
    quiet = ("--yes", "--skip-preview", "--generate-code=false", "--protect=false")
    space.ok(OURS, "import", "-s", STACK, *quiet, "docker:index/volume:Volume", "data", "by-hand")
    space.ok(OURS, "import", "-s", STACK, *quiet, "docker:index/container:Container", "web", id[:12])
    space.operate(OURS, "up")  # the default provider of the import goes: the program's has a version
    space.operate(OURS, "preview", "--expect-no-changes")
    assert asyncio.run(containers(docker_engine)) == {"by-hand": id}
    space.operate(OURS, "destroy")
    assert asyncio.run(containers(docker_engine)) == {}


@needs_sdk
def test_what_is_not_covered_is_refused_before_anything_is_made(docker_engine: Engine, tmp_path: Path):
    space = workspace(tmp_path, docker_engine)
    space.use(PROGRAMS / "refused")
    failed = space.operate(OURS, "preview", check=False)
    assert failed.code != 0
    flat = " ".join(failed.said.split())
    assert "docker.Image is not covered by the built-in docker provider" in flat
    assert "tickover plugin install resource docker VERSION" in flat


@needs_sdk
@pytest.mark.skipif(not cli_binary(), reason="TICKOVER_PULUMI_CLI names no pulumi binary")
def test_the_real_cli_takes_the_stack_over_with_the_provider_as_a_plugin(
    docker_engine: Engine, tmp_path: Path
):
    space = workspace(tmp_path, docker_engine)
    plugin = tmp_path / "plugin/pulumi-resource-docker"
    plugin.parent.mkdir()
    plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.support.docker_plugin "$@"\n')
    plugin.chmod(0o755)
    with_plugin = {"PATH": f"{plugin.parent}{os.pathsep}{space.environment()['PATH']}"}

    space.use(PROGRAMS / "one")
    space.operate(OURS, "up")
    made = outputs(space)["id"]
    space.operate(REAL, "preview", "--expect-no-changes", env=with_plugin)
    space.operate(REAL, "refresh", "--expect-no-changes", env=with_plugin)
    space.use(PROGRAMS / "two")
    space.operate(REAL, "up", env=with_plugin)
    assert outputs(space)["id"] == made
    space.operate(OURS, "preview", "--expect-no-changes")
    space.operate(REAL, "destroy", env=with_plugin)
    assert asyncio.run(containers(docker_engine)) == {}


@needs_sdk
@pytest.mark.parametrize(
    ("resource", "arguments"),
    [
        (CONTAINER, "ContainerArgs"),
        (NETWORK, "NetworkArgs"),
        (REGISTRY_IMAGE, "RegistryImageArgs"),
        (REMOTE_IMAGE, "RemoteImageArgs"),
        (TAG, "TagArgs"),
        (VOLUME, "VolumeArgs"),
    ],
)
def test_the_tables_have_the_inputs_of_the_sdk_and_no_others(resource, arguments):
    import pulumi_docker as docker

    mismatches: list[str] = []
    compare(resource.fields, getattr(docker, arguments), resource.noun, docker, mismatches)
    assert mismatches == []


def compare(fields, arguments, where: str, docker, mismatches: list[str]) -> None:
    """The wire names of an Args class against a table, nested classes too."""
    properties = {n: p for n, p in inspect.getmembers(arguments) if isinstance(p, property)}
    wire = {getattr(p.fget, "_pulumi_name", n): p for n, p in properties.items()}
    if set(wire) != set(fields):
        mismatches.append(f"{where}: {sorted(set(wire) ^ set(fields))}")
    for name, found in wire.items():
        known = fields.get(name)
        annotation = str(found.fget.__annotations__.get("return", ""))
        nested = [part for part in dir(docker) if part.endswith("Args") and f"{part}'" in annotation]
        if known is not None and known.fields and nested:
            compare(known.fields, getattr(docker, nested[0]), f"{where}.{name}", docker, mismatches)

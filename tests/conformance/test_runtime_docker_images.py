"""Images of instances on a real engine and registry: found, refused, pulled, pinned."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile

import aiodocker
import pytest

from tests.support.docker_engine import (
    BASE_IMAGE,
    PASSWORD,
    Engine,
    docker_engine,
    free_port,
    import_image,
    rootfs,
)
from tests.support.docker_runtime import Rig, credentials, docker_runtime, pushed, spec
from tests.support.host_core import run
from tickover.host.runtimes.base import RuntimeFailed

__all__ = ["docker_engine"]

SLEEPS = "sleep 100"


@pytest.fixture
def on_rig(docker_engine: Engine, tmp_path):
    def start(scenario):
        async def main():
            rig = Rig(docker_runtime(docker_engine, tmp_path), tmp_path, "", "")
            try:
                await scenario(rig)
            finally:
                await rig.end()

        run(main())

    return start


async def forget(engine: Engine, *names: str) -> None:
    async with engine.client() as client:
        for name in names:
            try:
                await client.images.delete(name, force=True)
            except aiodocker.DockerError as error:
                assert error.status == 404


async def image_of(rig, ref):
    found = await rig.runtime._engine.inspect(ref)
    return found["Image"]


def saved_image(name: str, architecture: str) -> bytes:
    """An image as `docker save` writes it."""
    layer = rootfs()
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"layer.tar": layer, "config.json": config, "manifest.json": manifest}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def private(name, password=PASSWORD, **changes):
    return spec(SLEEPS, image=name, container={"registryConfig": credentials(password)}, **changes)


def test_an_image_is_pulled_with_the_functions_credentials_and_the_log_tells(on_rig, docker_engine: Engine):
    name = f"{docker_engine.registry}/it/pulled:1"

    async def scenario(rig):
        await import_image(docker_engine.host, "base.test/pulled:1", b"pulled")
        digest = await pushed(docker_engine, "it/pulled:1", "base.test/pulled:1")
        await forget(docker_engine, name, digest, "base.test/pulled:1")
        plan, ref = await rig.spawn(private(name))
        said = plan.log_path.read_text()
        assert f"tickover: pulling image {name}\n" in said
        assert f"pulling image {name}: 1 of 1 layers" in said
        assert f"tickover: image {name} is {digest}\n" in said
        assert PASSWORD not in said
        shown = await rig.runtime._engine.inspect(ref)
        assert PASSWORD not in str(shown)
        await rig.stop(plan, grace=0.0)
        await forget(docker_engine, name, digest)
        by_digest, _ = await rig.spawn(private(digest))
        assert f"image {digest} is {digest}" in by_digest.log_path.read_text()

    on_rig(scenario)


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda name: spec(SLEEPS, image=name), r"only to those it knows.*registryConfig\.authConfig"),
        (lambda name: private(name, "wrong-password"), r"only to those it knows.*registryConfig\.authConfig"),
        (lambda name: private(name.replace(":1", ":absent")), "neither on the engine nor in its registry"),
    ],
    ids=["no credentials", "wrong credentials", "no such tag"],
)
def test_an_image_that_cannot_be_had_is_refused_with_the_reason(on_rig, docker_engine: Engine, make, why):
    name = f"{docker_engine.registry}/it/refused:1"

    async def scenario(rig):
        await import_image(docker_engine.host, "base.test/refused:1", b"refused")
        digest = await pushed(docker_engine, "it/refused:1", "base.test/refused:1")
        await forget(docker_engine, name, digest, "base.test/refused:1")
        plan, recorded = rig.plan(make(name)), []
        with pytest.raises(RuntimeFailed, match=why) as failed:
            await rig.runtime.spawn(plan, recorded.append)
        assert "password" not in failed.value.reason and PASSWORD not in plan.log_path.read_text()
        assert recorded == []

    on_rig(scenario)


def test_a_registry_that_is_down_is_said(on_rig):
    async def scenario(rig):
        plan = rig.plan(spec(SLEEPS, image=f"127.0.0.1:{free_port()}/app:1"))
        with pytest.raises(RuntimeFailed, match=r"registry of image .* cannot be reached from the engine"):
            await rig.runtime.spawn(plan, lambda handle: None)

    on_rig(scenario)


def test_with_the_registry_away_or_closed_the_image_that_is_there_is_used(on_rig, docker_engine: Engine):
    async def scenario(rig):
        names = (f"127.0.0.1:{free_port()}/app:1", f"{docker_engine.registry}/it/never-pushed:1")
        for name in names:
            async with docker_engine.client() as client:
                repository, _, tag = name.rpartition(":")
                await client.images.tag(BASE_IMAGE, repository, tag=tag)
            plan, _ = await rig.spawn(spec(SLEEPS, image=name))
            assert "the image that the engine has is used: " in plan.log_path.read_text()
        plan = rig.plan(private(names[1], "wrong-password", description="not pinned yet"))
        with pytest.raises(RuntimeFailed, match="only to those it knows"):
            await rig.runtime.spawn(plan, lambda handle: None)

    on_rig(scenario)


def test_an_image_of_another_processor_is_refused(on_rig, docker_engine: Engine):
    foreign = "arm64" if platform.machine() == "x86_64" else "amd64"

    async def scenario(rig):
        async with docker_engine.client() as client:
            await client.images.import_image(io.BytesIO(saved_image("base.test/foreign:1", foreign)))
            image = await client.images.inspect("base.test/foreign:1")
        assert image["Architecture"] == foreign
        plan, recorded = rig.plan(spec(SLEEPS, image=image["Id"])), []
        with pytest.raises(RuntimeFailed, match=f"is made for {foreign} and this machine is"):
            await rig.runtime.spawn(plan, recorded.append)
        assert recorded == []

    on_rig(scenario)


def test_instances_of_one_spec_run_one_image_though_the_tag_moves(on_rig, docker_engine: Engine, tmp_path):
    name = f"{docker_engine.registry}/it/moving:1"

    async def scenario(rig):
        await import_image(docker_engine.host, "base.test/one:1", b"one")
        two = await import_image(docker_engine.host, "base.test/two:1", b"two")
        await pushed(docker_engine, "it/moving:1", "base.test/one:1")
        _, ref = await rig.spawn(private(name))
        first = await image_of(rig, ref)
        await pushed(docker_engine, "it/moving:1", "base.test/two:1")
        _, second = await rig.spawn(private(name))
        assert await image_of(rig, second) == first
        fresh = Rig(docker_runtime(docker_engine, tmp_path), tmp_path, "", "")
        _, third = await fresh.spawn(private(name))  # a later host: the pin is what lives
        assert await image_of(rig, third) == first
        _, other = await fresh.spawn(private(name, environmentVariables={"NEW": "spec"}))
        assert await image_of(rig, other) == two
        await fresh.end()

    on_rig(scenario)


def test_a_pinned_image_that_was_tidied_away_is_pulled_by_its_digest(on_rig, docker_engine: Engine, tmp_path):
    name = f"{docker_engine.registry}/it/tidied:1"

    async def scenario(rig):
        await import_image(docker_engine.host, "base.test/tidied:1", b"tidied")
        digest = await pushed(docker_engine, "it/tidied:1", "base.test/tidied:1")
        pins: dict[str, str] = {}
        first = Rig(docker_runtime(docker_engine, tmp_path, pins=pins), tmp_path, "", "")
        _, ref = await first.spawn(private(name))
        image = await image_of(rig, ref)
        await first.end()
        assert list(pins.values()) == [digest]
        await import_image(docker_engine.host, "base.test/newer:1", b"newer")
        await pushed(docker_engine, "it/tidied:1", "base.test/newer:1")
        await forget(docker_engine, name, digest, "base.test/tidied:1")
        second = Rig(docker_runtime(docker_engine, tmp_path, pins=pins), tmp_path, "", "")
        _, ref = await second.spawn(private(name))
        assert await image_of(rig, ref) == image
        await second.end()

    on_rig(scenario)


def test_an_image_id_that_is_not_there_is_not_asked_of_a_registry(on_rig):
    async def scenario(rig):
        plan = rig.plan(spec(SLEEPS, image=f"sha256:{'0' * 64}"))
        with pytest.raises(RuntimeFailed, match="an image id cannot be pulled"):
            await rig.runtime.spawn(plan, lambda handle: None)

    on_rig(scenario)

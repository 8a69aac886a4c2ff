"""Images, tags, pushes, volumes and networks of the docker provider on a real engine and registry."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.docker_engine import BASE_IMAGE, PASSWORD, USER, Engine, docker_engine, import_image
from tests.support.docker_provider import Object, driver, urn
from tickover.errors import Exit, TickoverError
from tickover.provider.docker import registry
from tickover.provider.docker.config import Login
from tickover.provider.docker.names import parse

__all__ = ["docker_engine"]


async def in_registry(engine: Engine, name: str) -> str | None:
    return await registry.digest(parse(name), Login(engine.registry, USER, PASSWORD))


def test_an_image_is_tagged_pushed_pulled_and_removed(docker_engine: Engine):
    name = f"{docker_engine.registry}/team/app:1"

    async def life() -> None:
        async with driver(docker_engine.config) as d, docker_engine.client() as client:
            tag = await d.create("Tag", sourceImage=BASE_IMAGE, targetImage=name)
            assert tag.id == f"{BASE_IMAGE}.{name}"
            image_id = (await client.images.inspect(BASE_IMAGE))["Id"]
            assert tag.outputs["sourceImageId"] == image_id
            pushed = await d.create("RegistryImage", name=name)
            digest = pushed.outputs["sha256Digest"]
            assert pushed.id == digest == await in_registry(docker_engine, name)
            assert any(line.startswith(f"pushing {name}") and ephemeral for _, line, ephemeral in d.lines)
            assert (await d.refresh(pushed)).outputs == pushed.outputs
            assert (await d.refresh(tag)).outputs == tag.outputs

            await client.images.delete(name)
            assert (await d.read(tag)).id == ""
            pulled = await d.create("RemoteImage", name=name)
            assert pulled.id == f"{image_id}{name}" and pulled.outputs["imageId"] == image_id
            assert pulled.outputs["repoDigest"] == f"{docker_engine.registry}/team/app@{digest}"
            assert any(line.startswith(f"pulling {name}: ") and ephemeral for _, line, ephemeral in d.lines)
            assert (await d.refresh(pulled)).outputs == pulled.outputs
            by_digest = await d.create("RemoteImage", name=pulled.outputs["repoDigest"], keepLocally=True)
            assert by_digest.outputs["imageId"] == image_id

            await d.delete(tag)
            assert (await client.images.inspect(name))["Id"] == image_id
        async with driver(docker_engine.config) as d, docker_engine.client() as client:
            kept = await d.update(pulled, name=name, keepLocally=True)
            await d.delete(kept)
            assert (await client.images.inspect(name))["Id"] == image_id
            await d.delete(pulled)
            assert (await d.read(pulled)).id == ""
            left = await d.update(pushed, name=name, keepRemotely=True)
            await d.delete(left)
            assert await in_registry(docker_engine, name) == digest
            await d.delete(pushed)
            assert await in_registry(docker_engine, name) is None
            assert (await d.read(pushed)).id == ""
            await d.delete(pushed)

    asyncio.run(life())


def test_a_replacement_of_the_same_name_survives_the_end_of_its_predecessor(docker_engine: Engine):
    name = f"{docker_engine.registry}/team/moving:1"

    async def life() -> None:
        await import_image(docker_engine.host, name, b"one")
        async with driver(docker_engine.config) as d:
            first = await d.create("RegistryImage", name=name, triggers={"build": "1"})
            image = await d.create("RemoteImage", name=name, pullTriggers=["1"])
        await import_image(docker_engine.host, name, b"two")
        async with driver(docker_engine.config) as d, docker_engine.client() as client:
            change = await d.diff(first, name=name, triggers={"build": "2"})
            assert change.replaces == ("triggers",) and not change.delete_before_replace
            second = await d.create("RegistryImage", name=name, triggers={"build": "2"})
            assert second.id != first.id
            await d.delete(first)
            assert await in_registry(docker_engine, name) == second.id
            change = await d.diff(image, name=name, pullTriggers=["2"])
            assert change.replaces == ("pullTriggers",) and not change.delete_before_replace
            newer = await d.create("RemoteImage", name=name, pullTriggers=["2"])
            assert newer.outputs["repoDigest"].endswith(second.id)
            await d.delete(image)
            assert (await client.images.inspect(name))["Id"] == newer.outputs["imageId"]
            same = await d.create("RegistryImage", name=name, triggers={"build": "3"})
            assert same.id == second.id
            await d.delete(second)
            assert await in_registry(docker_engine, name) == second.id

    asyncio.run(life())


def test_a_registry_wants_its_password_and_nobody_sees_it(docker_engine: Engine):
    name = f"{docker_engine.registry}/team/private:1"
    wrong = {"address": docker_engine.registry, "username": USER, "password": "not-the-password"}

    async def life() -> None:
        await import_image(docker_engine.host, name, b"private")
        async with driver({"host": docker_engine.host}) as d:
            for work in (
                d.create("RegistryImage", name=name),
                d.create("RemoteImage", name=name, pullTriggers=["x"]),
            ):
                with pytest.raises(TickoverError) as error:
                    await work
                assert error.value.code == "registry-denied"
                assert error.value.exit_code is Exit.AUTHENTICATION
            with pytest.raises(TickoverError) as error:
                await d.create("RegistryImage", name=name, authConfig=wrong)
            assert "not-the-password" not in str(error.value)
            with pytest.raises(TickoverError) as error:
                await d.provider.invoke("docker:index/getRegistryImage:getRegistryImage", {"name": name})
            assert error.value.code == "registry-denied"
            right = {"address": docker_engine.registry, "username": USER, "password": PASSWORD}
            pushed = await d.create("RegistryImage", name=name, authConfig=right)
            assert PASSWORD not in repr(pushed)
            assert (await d.read(pushed)).id == pushed.id
            await d.delete(pushed)

    asyncio.run(life())


def test_an_image_in_use_is_not_removed_and_its_user_is_named(docker_engine: Engine):
    async def life() -> None:
        name = "used.test/app:1"
        await import_image(docker_engine.host, name, b"used")
        async with driver(docker_engine.config) as d:
            web = await d.create("Container", image=name, name="user", command=["sleep", "1000"])
        async with driver(docker_engine.config) as d:
            image = Object(urn("RemoteImage"), name, {"name": name}, {})
            with pytest.raises(TickoverError) as error:
                await d.delete(image)
            assert error.value.code == "still-in-use" and "user was made from it" in error.value.detail
            await d.delete(web)
            await d.delete(image)

    asyncio.run(life())


def test_a_tag_that_moved_away_is_made_again(docker_engine: Engine):
    async def life() -> None:
        target = "moved.test/app:stable"
        async with driver(docker_engine.config) as d:
            tag = await d.create("Tag", sourceImage=BASE_IMAGE, targetImage=target)
            await import_image(docker_engine.host, target, b"elsewhere")
            assert (await d.read(tag)).id == ""
            with pytest.raises(TickoverError) as error:
                await d.create("Tag", sourceImage="nobody.test/none:1", targetImage=target)
            assert error.value.code == "image-not-found"
            with pytest.raises(TickoverError) as error:
                await d.imported("Tag", tag.id)
            assert error.value.code == "cannot-import"

    asyncio.run(life())


def test_volumes_and_networks_are_not_taken_over_and_can_be_imported(docker_engine: Engine):
    async def life() -> None:
        async with driver(docker_engine.config) as d, docker_engine.client() as client:
            labels = [{"label": "b", "value": "2"}, {"label": "a", "value": "1"}]
            vol = await d.create("Volume", name="data", labels=labels)
            assert vol.id == "data" and vol.outputs["driver"] == "local"
            assert vol.outputs["mountpoint"].startswith(str(docker_engine.folder))
            with pytest.raises(TickoverError) as error:
                await d.create("Volume", name="data")
            assert error.value.code == "name-taken"
            assert error.value.hint == "tickover import docker:index/volume:Volume NAME data"
            found = await d.imported("Volume", "data")
            old = Object(urn("Volume"), found.id, found.inputs, found.outputs)
            assert (await d.diff(old, name="data", labels=labels)).changes is False

            config = [{"subnet": "10.215.7.0/24", "gateway": "10.215.7.1"}]
            net = await d.create("Network", name="lan", internal=True, ipamConfigs=config, labels=labels)
            shown = await (await client.networks.get("lan")).show()
            assert shown["Internal"] and shown["IPAM"]["Config"] == [
                {"Subnet": "10.215.7.0/24", "Gateway": "10.215.7.1"}
            ]
            assert net.outputs["scope"] == "local" and net.outputs["driver"] == "bridge"
            assert (await d.refresh(net)).outputs == net.outputs
            with pytest.raises(TickoverError) as error:
                await d.create("Network", name="lan")
            assert error.value.code == "name-taken" and net.id in error.value.hint
            found = await d.imported("Network", "lan")
            assert found.id == net.id
            old = Object(urn("Network"), found.id, found.inputs, found.outputs)
            declared = {
                "name": "lan",
                "internal": True,
                "ipamConfigs": config,
                "labels": labels,
                "driver": "bridge",
            }
            assert (await d.diff(old, **declared)).changes is False
            change = await d.diff(net, name="lan", internal=False, ipamConfigs=config, labels=labels)
            assert change.replaces == ("internal",) and change.delete_before_replace
            await d.delete(net)
            await d.delete(net)
            await d.delete(vol)
            await d.delete(vol)

    asyncio.run(life())


def test_functions_tell_what_is_on_the_engine(docker_engine: Engine):
    async def life() -> None:
        async with driver(docker_engine.config) as d:
            call = d.provider.invoke
            image = await call("docker:index/getRemoteImage:getRemoteImage", {"name": BASE_IMAGE})
            assert image.outputs["id"].startswith("sha256:") and image.outputs["repoDigest"] == ""
            net = await call("docker:index/getNetwork:getNetwork", {"name": "bridge"})
            assert net.outputs["driver"] == "bridge" and net.outputs["scope"] == "local"
            script = ["sh", "-c", "echo one; echo two >&2; exec sleep 1000"]
            web = await d.create("Container", image=BASE_IMAGE, name="talks", command=script)
            logs = await call("docker:index/getLogs:getLogs", {"name": "talks", "showStdout": True})
            assert sorted(logs.outputs["logsListStrings"]) == ["one", "two"]
            only = {"name": "talks", "showStdout": True, "showStderr": False, "logsListStringEnabled": True}
            logs = await call("docker:index/getLogs:getLogs", only)
            assert logs.outputs["logsListStrings"] == ["one"]
            for token, name in (
                ("docker:index/getRemoteImage:getRemoteImage", "nobody.test/none:1"),
                ("docker:index/getNetwork:getNetwork", "nowhere"),
                ("docker:index/getLogs:getLogs", "nobody"),
            ):
                with pytest.raises(TickoverError) as error:
                    await call(token, {"name": name})
                assert error.value.code == "not-found" and name in error.value.detail
            with pytest.raises(TickoverError) as error:
                await call("docker:index/getPlugin:getPlugin", {"id": "x"})
            assert "tickover plugin install resource docker" in error.value.detail
            await d.delete(web)

    asyncio.run(life())


def test_a_timeout_ends_the_work_and_leaves_nothing(docker_engine: Engine):
    async def life() -> None:
        async def forever(seconds: float) -> None:
            await asyncio.Event().wait()

        async with driver(docker_engine.config, sleep=forever) as d, docker_engine.client() as client:
            slow = {"image": BASE_IMAGE, "name": "slow", "command": ["sleep", "1000"]}
            with pytest.raises(TickoverError) as error:
                await d.create("Container", "it", 1.0, **slow)
            assert error.value.code == "timeout" and error.value.exit_code is Exit.TIMEOUT
            assert "slow" not in [c["Names"][0].lstrip("/") for c in await client.containers.list(all=True)]

    asyncio.run(life())

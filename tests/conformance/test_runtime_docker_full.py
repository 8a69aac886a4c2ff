"""A disk of the engine that is really full: told, nobody else's trouble, and over once there is room."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator

import pytest

from tests.support.docker_engine import BASE_IMAGE, Engine, engine, missing
from tests.support.docker_runtime import SERVE, credentials, docker_runtime, pushed, spec
from tests.support.host_core import FAST, Declared, function, get, pool_of, run, until
from tickover.host.pool import ReservedPool
from tickover.host.runtimes.process import ProcessRuntime

DATA_MB = 64
LEFT_BYTES = 400_000  # less than the image takes, enough for what the engine writes about itself


@pytest.fixture
def small() -> Iterator[Engine]:
    if reason := missing():
        pytest.skip(reason)
    with engine(DATA_MB) as running:
        yield running


async def forget_images(small: Engine) -> None:
    async with small.client() as client:
        for image in await client.images.list():
            await client.images.delete(image["Id"], force=True)


def test_an_image_without_room_is_told_and_starts_once_there_is_room(small: Engine, tmp_path):
    name = f"{small.registry}/it/full:1"
    asyncio.run(pushed(small, "it/full:1", BASE_IMAGE))
    asyncio.run(forget_images(small))
    contained = spec(
        SERVE,
        ("/shown", "${port}"),
        image=name,
        container={"healthCheckConfig": {"httpGetUrl": "/env"}, "registryConfig": credentials()},
    )
    declared = Declared(pool_of(contained), pool_of(function(), name="beside"))
    data = small.folder / "data"
    ballast = data / "ballast"

    async def scenario() -> None:
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(data).free - LEFT_BYTES)
        runtimes = (ProcessRuntime(), docker_runtime(small, tmp_path))
        pool = ReservedPool(declared, tmp_path / "host.db", tmp_path, {}, None, None, FAST, runtimes)
        await pool.start()
        try:
            await until(lambda: pool.status("chat-dev", "live").current_error != "", "told")
            said = pool.status("chat-dev", "live").current_error
            assert f"no room for image {name} on the engine's disk" in said
            assert "docker system df" in said and "no space left on device" in said
            await until(lambda: pool.status("beside", "live").current == 1, "the other one")
            lease = await pool.acquire("beside", "live")
            assert await get(lease.port, "/health") == {"ok": True}
            pool.release(lease)
            assert pool.status("chat-dev", "live").current == 0
            ballast.unlink()
            await until(lambda: pool.status("chat-dev", "live").current == 1, "its start", 40.0)
            assert pool.status("chat-dev", "live").current_error == ""
        finally:
            await pool.stop(keep_instances=False)

    run(scenario())

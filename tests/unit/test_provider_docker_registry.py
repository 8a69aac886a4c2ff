"""A registry that wants tokens, one that deletes nothing, and what a stack pays for docker at start-up."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tickover.errors import TickoverError
from tickover.provider.docker import registry
from tickover.provider.docker.config import Login
from tickover.provider.docker.names import parse

DIGEST = "sha256:" + "a" * 64


@asynccontextmanager
async def token_registry(seen: list[str], *, delete_status: int = 202):
    """Answers only with a token, which it gives for the right password and the asked scope."""
    address = ""

    async def token(request: web.Request) -> web.Response:
        seen.append(f"token {request.query['scope']} {request.query['service']}")
        right = base64.b64encode(b"me:right-password").decode()
        if request.headers.get("Authorization") != f"Basic {right}":
            return web.Response(status=401)
        return web.json_response({"token": "t-1"})

    async def manifest(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.match_info['reference']}")
        if request.headers.get("Authorization") != "Bearer t-1":
            wanted = f'Bearer realm="http://{address}/token",service="reg",scope="repository:a/b:pull,push"'
            return web.Response(status=401, headers={"WWW-Authenticate": wanted})
        if request.match_info["reference"] == "none":
            return web.Response(status=404)
        if request.match_info["reference"] == "broken":
            return web.Response(status=503)
        status = delete_status if request.method == "DELETE" else 200
        return web.Response(status=status, headers={"Docker-Content-Digest": DIGEST})

    app = web.Application()
    app.router.add_get("/token", token)
    app.router.add_route("*", "/v2/a/b/manifests/{reference}", manifest)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = "{}:{}".format(*runner.addresses[0][:2])
    try:
        yield address
    finally:
        await runner.cleanup()


def test_a_password_becomes_a_token_for_the_scope_that_is_asked():
    async def talk() -> None:
        seen: list[str] = []
        async with token_registry(seen) as address:
            login = Login(address, "me", "right-password")
            image = parse(f"{address}/a/b:1")
            assert await registry.digest(image, login) == DIGEST
            assert seen == ["HEAD 1", "token repository:a/b:pull,push reg", "HEAD 1"]
            assert await registry.digest(parse(f"{address}/a/b:none"), login) is None
            await registry.remove(image, DIGEST, login)
            assert seen[-1] == f"DELETE {DIGEST}"

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("tag", "password", "code"),
    [("1", "wrong-password", "registry-denied"), ("broken", "right-password", "registry-refused")],
)
def test_a_registry_that_says_no_is_named_without_the_password(tag, password, code):
    async def talk() -> None:
        async with token_registry([]) as address:
            with pytest.raises(TickoverError) as error:
                await registry.digest(parse(f"{address}/a/b:{tag}"), Login(address, "me", password))
            assert error.value.code == code and address in error.value.detail
            assert password not in str(error.value)

    asyncio.run(talk())


def test_a_registry_that_deletes_nothing_says_what_to_do():
    async def talk() -> None:
        async with token_registry([], delete_status=405) as address:
            login = Login(address, "me", "right-password")
            with pytest.raises(TickoverError) as error:
                await registry.remove(parse(f"{address}/a/b:1"), DIGEST, login)
            assert error.value.code == "registry-keeps" and "keep_remotely=True" in error.value.hint

    asyncio.run(talk())


def test_a_registry_that_does_not_answer_is_named():
    async def talk() -> None:
        async with token_registry([]) as address:
            pass
        with pytest.raises(TickoverError) as error:
            await registry.digest(parse(f"{address}/a/b:1"), None)
        assert error.value.code == "registry-unreachable" and address in error.value.detail

    asyncio.run(talk())


def test_a_stack_without_docker_loads_no_http_library():
    script = (
        "import sys, tickover.provider.docker; print('aiohttp' in sys.modules, 'aiodocker' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]

"""jwt with keys by URL through the real door: who waits for the keys, and what a fetch puts up with."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.host_edge_fakes import (
    FakePool,
    ask,
    echo,
    instance,
    open_door,
    read_head,
    registry_with,
    run,
)
from tickover.host import jwks_fetch
from tickover.host.jwks import KeySetError

KEY = ec.generate_private_key(ec.SECP256R1())
SET = json.dumps({"keys": [{**jwt.get_algorithm_by_name("ES256").to_jwk(KEY, as_dict=True), "kid": "a"}]})
TOKEN = jwt.encode({"sub": "u"}, KEY, algorithm="ES256", headers={"kid": "a"})


def request(token: str, body: str = "hello") -> bytes:
    head = f"POST /fn/chat-dev/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def answering(text: str, status: str = "200 OK", more: str = "", gate: asyncio.Event | None = None):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        if gate is not None:
            await gate.wait()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n{more}\r\n{text}".encode())
        await writer.drain()

    return handler


def test_only_callers_whose_key_is_not_known_wait_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        async with instance(echo) as up, instance(answering(SET, gate=gate)) as keys:
            config = {
                "jwksUri": f"http://127.0.0.1:{keys}/keys",
                "tokenLookup": "header:Authorization:Bearer",
            }
            trigger = {"authType": "jwt", "authConfig": json.dumps(config), "methods": []}
            async with open_door(FakePool([up]), registry_with(tmp_path, trigger=trigger)) as port:
                waiting = asyncio.create_task(ask(port, request(TOKEN)))
                refused, _, _ = await ask(port, request("no.jwt"))
                assert refused.startswith("HTTP/1.1 401")
                assert not waiting.done()
                gate.set()
                first, _, body = await waiting
                assert first == "HTTP/1.1 200 OK"
                assert body.endswith(b"hello")
                unknown = jwt.encode({}, KEY, algorithm="ES256", headers={"kid": "other"})
                assert (await ask(port, request(unknown)))[0].startswith("HTTP/1.1 401")

    run(scenario)


def test_callers_are_told_when_there_are_no_keys(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, instance(answering("", "500 Oops")) as keys:
            config = {
                "jwksUri": f"http://127.0.0.1:{keys}/keys",
                "tokenLookup": "header:Authorization:Bearer",
            }
            trigger = {"authType": "jwt", "authConfig": json.dumps(config), "methods": []}
            async with open_door(FakePool([up]), registry_with(tmp_path, trigger=trigger)) as port:
                first, headers, body = await ask(port, request(TOKEN))
                assert first.startswith("HTTP/1.1 503")
                assert 1 <= int(headers["retry-after"]) <= 5
                assert b"127.0.0.1" not in body

    run(scenario)


@pytest.mark.parametrize(
    ("text", "status", "more", "said"),
    [
        ("", "302 Found", "Location: /there\r\n", "302"),
        ("", "404 Not Found", "", "404"),
        ("x" * (jwks_fetch.MAX_BYTES + 1), "200 OK", "", "bytes"),
        ("", "none", "", "reached"),
    ],
)
def test_a_fetch_that_is_refused(text: str, status: str, more: str, said: str) -> None:
    async def scenario() -> None:
        async with instance(answering(text, status, more)) as keys:
            with pytest.raises(KeySetError, match=said):
                await jwks_fetch.fetch(f"http://127.0.0.1:{keys}/keys")

    run(scenario)


def test_a_fetch_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_fetch, "FETCH_SECONDS", 0.05)

    async def scenario() -> None:
        async with instance(answering("", gate=asyncio.Event())) as keys:
            with pytest.raises(KeySetError, match="no answer"):
                await jwks_fetch.fetch(f"http://127.0.0.1:{keys}/keys")

    run(scenario)

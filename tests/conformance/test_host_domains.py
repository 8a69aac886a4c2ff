"""Custom domains through the real door: who is let in, what the function sees, what a browser is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jwt

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
from tickover.host.registry import ObjectRegistry
from tickover.host.store import Kind, Row

SECRET = b"k" * 32
KEYS = {"keys": [{"kty": "oct", "alg": "HS256", "k": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"}]}


def declared(path: Path, **domain: Any) -> ObjectRegistry:
    registry = registry_with(path)
    routes = {"routes": [{"path": "/*", "functionName": "chat-dev"}]}
    body = {"protocol": "HTTP", "routeConfig": routes, **domain}
    registry.put(Row(Kind.DOMAIN, "", "a.test", body, {}, 1, 1))
    return registry


def request(*headers: str, line: str = "GET /v1/x") -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: a.test", *headers, "", ""]).encode()


def test_a_jwt_lets_in_and_its_claims_replace_the_callers_headers(tmp_path: Path) -> None:
    info = {"jwks": KEYS, "tokenLookup": "header:Authorization:Bearer", "claimPassBy": "header:sub:x-user"}
    token = jwt.encode({"sub": "ann", "exp": 4_000_000_000}, SECRET, algorithm="HS256")

    async def scenario() -> None:
        registry = declared(tmp_path, authConfig={"authType": "jwt", "authInfo": info})
        async with instance(echo) as up, open_door(FakePool([up]), registry) as port:
            _, _, body = await ask(port, request(f"Authorization: Bearer {token}", "X-User: root"))
            assert body.decode().split("\n").count("x-user: ann") == 1
            assert b"root" not in body
            first, _, refused = await ask(port, request("Authorization: Bearer x.y.z", "X-User: root"))
            assert first.startswith("HTTP/1.1 401")
            assert b'"Code": "AccessDenied"' in refused

    run(scenario)


def test_basic_asks_for_a_password(tmp_path: Path) -> None:
    info = {"users": [{"username": "u", "password": "p"}]}

    async def scenario() -> None:
        registry = declared(tmp_path, authConfig={"authType": "basic", "authInfo": info})
        async with instance(echo) as up, open_door(FakePool([up]), registry) as port:
            first, headers, _ = await ask(port, request())
            assert (first.split()[1], headers["www-authenticate"][:5]) == ("401", "Basic")
            first, _, _ = await ask(port, request("Authorization: Basic dTpw"))
            assert first == "HTTP/1.1 200 OK"

    run(scenario)


def test_a_browser_is_told_by_the_host_and_on_errors_too(tmp_path: Path) -> None:
    cors = {"allowOrigins": ["https://web.test"], "allowMethods": ["POST"], "maxAge": 60}
    routes = {"routes": [{"path": "/v1/*", "functionName": "chat-dev", "methods": ["POST"]}]}
    users = {"authType": "basic", "authInfo": {"users": [{"username": "u", "password": "p"}]}}
    origin = "Origin: https://web.test"

    async def theirs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\ncontent-length: 0\r\n\r\n")

    async def scenario() -> None:
        registry = declared(tmp_path, corsConfig=cors, routeConfig=routes, authConfig=users)
        async with instance(theirs) as up, open_door(FakePool([up]), registry) as port:
            wanted = "Access-Control-Request-Method: POST"
            first, headers, _ = await ask(port, request(origin, wanted, line="OPTIONS /v1/x"))
            assert (first.split()[1], headers["access-control-max-age"]) == ("204", "60")
            assert headers["access-control-allow-origin"] == "https://web.test"
            for line, status in (("POST /v1/x", "401"), ("POST /else", "404"), ("GET /v1/x", "405")):
                first, headers, _ = await ask(port, request(origin, line=line))
                assert first.split()[1] == status
                assert headers["access-control-allow-origin"] == "https://web.test"
            sent = request(origin, "Authorization: Basic dTpw", "Content-Length: 0", line="POST /v1/x")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            raw = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            assert raw.lower().count(b"access-control-allow-origin") == 1
            assert b"access-control-allow-origin: https://web.test" in raw

    run(scenario)

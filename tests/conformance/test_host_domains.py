"""Custom domains through the real door: who is let in, what the function sees, what a browser is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt

from tests.support.host_edge_fakes import FakePool, ask, echo, instance, open_door, registry_with, run
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

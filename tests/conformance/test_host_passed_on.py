"""Requests of sessions that another host has by now: they go on through that host's door."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Final

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
from tickover.host.access import Trace

STICKY: Final = {
    "sessionAffinity": "HEADER_FIELD",
    "sessionAffinityConfig": '{"affinityHeaderFieldName": "My-Session"}',
}
POST: Final = (
    b"POST /fn/chat-dev/say?x=1 HTTP/1.1\r\nHost: h\r\nMy-Session: me\r\nX-Fc-Request-Id: forged\r\n"
    b"Content-Length: 5\r\n\r\nhello"
)


def test_it_arrives_there_as_it_came_and_is_one_request_in_both_logs(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old, new = [registry_with(path, function=STICKY) for path in (tmp_path / "old", tmp_path)]
    here: list[Trace] = []
    there: list[Trace] = []

    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(theirs := FakePool([up]), new, ended=there.append) as successor,
            open_door(ours := FakePool(), old, ended=here.append, successor=successor) as port,
        ):
            first, headers, body = await ask(port, POST)
            assert first == "HTTP/1.1 200 OK"
            seen = body.decode().split("\n")
            assert seen[0] == "POST /say?x=1 HTTP/1.1"
            assert seen.count("my-session: me") == 1
            assert seen[-1] == "hello"
            assert "forged" not in body.decode()
            assert headers["x-fc-instance-id"] == "i-0"
            assert headers["x-tickover-waited-ms"] == "12"
            assert theirs.granted and not ours.granted
            assert len({headers["x-fc-request-id"], here[0].request_id, there[0].request_id}) == 1

    run(scenario)


def test_a_new_session_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old, new = [registry_with(path, function=STICKY) for path in (tmp_path / "old", tmp_path)]

    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(FakePool([up]), new) as successor,
            open_door(FakePool(), old, successor=successor) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            answer = (await reader.read()).lower()
            writer.close()
            assert answer.count(b"\r\nmy-session: ") == 1

    run(scenario)


def test_a_signed_one_has_to_be_asked_again(tmp_path: Path) -> None:
    registry = registry_with(tmp_path, function=STICKY, trigger={"authType": "function", "methods": []})

    async def scenario() -> None:
        async with open_door(FakePool(), registry, successor=1) as port:
            signed = POST.replace(b"hello", b"secret").replace(b"Length: 5", b"Length: 6")
            signed = signed.replace(b"Host: h\r\n", b"Host: h\r\nAuthorization: ACS3-HMAC-SHA256 x\r\n")
            first, headers, _ = await ask(port, signed)
            assert (first.split()[1], headers["retry-after"]) == ("503", "1")

    run(scenario)


def test_an_id_that_is_none_gets_into_no_log(tmp_path: Path) -> None:
    seen: list[Trace] = []

    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nX-Fc-Request-Id: a", "status": "b\r\nContent-Length: 0\r\n\r\n')

    async def scenario() -> None:
        registry = registry_with(tmp_path, function=STICKY)
        async with (
            instance(strange) as successor,
            open_door(FakePool(), registry, ended=seen.append, successor=successor) as port,
        ):
            assert (await ask(port, POST))[0] == "HTTP/1.1 200 OK"

    run(scenario)
    assert len(seen) == 1
    assert uuid.UUID(seen[0].request_id)

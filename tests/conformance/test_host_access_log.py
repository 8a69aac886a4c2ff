"""What the front door tells of each exchange, and what a whole host writes and counts of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import requests

from tests.conformance.test_host_api_whole_host import declare, host, until
from tests.conformance.test_host_metrics import Page
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
from tests.support.host_edge_fakes import until as soon
from tests.support.host_edge_server import Served
from tickover.host.access import End, Trace, line

__all__ = ["host"]

SECRET = "sk-0123456789"
GET = (
    f"GET /fn/chat-dev/v1?key={SECRET} HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer {SECRET}\r\n"
    f"Cookie: s={SECRET}\r\n\r\n"
).encode()


def test_a_complete_answer_is_told_once_without_what_is_secret(tmp_path: Path) -> None:
    told: list[Trace] = []

    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(FakePool([up]), registry_with(tmp_path), ended=told.append) as port,
        ):
            await ask(port, GET)
            body = f"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: {len(SECRET)}\r\n\r\n{SECRET}"
            await ask(port, body.encode())
            await ask(port, b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")

    run(scenario)
    first, second, refused = told
    assert (first.status, first.end, first.function_name, first.instance_id) == (
        200,
        End.COMPLETE,
        "chat-dev",
        "i-0",
    )
    assert first.path == "/fn/chat-dev/v1" and first.host == "h"
    assert 0 < first.began_ns <= first.first_byte_ns <= first.ended_ns and first.bytes_out > 0
    assert second.bytes_in == len(SECRET)
    assert (refused.status, refused.function_name) == (404, "") and refused.error_type
    assert SECRET not in "".join(line(trace) for trace in told)


def test_losses_are_told_with_their_reason(tmp_path: Path) -> None:
    told: list[Trace] = []

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    async def none(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    def door(pool: FakePool, name: str) -> AbstractAsyncContextManager[int]:
        (tmp_path / name).mkdir()
        return open_door(pool, registry_with(tmp_path / name), ended=told.append)

    async def scenario() -> None:
        async with instance(half) as up, door(FakePool([up]), "half") as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await soon(lambda: len(told) == 1)
            with contextlib.suppress(ConnectionError):
                assert b"half" in await reader.read()
            await close(writer)
        async with instance(none) as up, door(FakePool([up]), "none") as port:
            assert (await ask(port, GET))[0].split()[1] == "502"
        async with instance(never) as up, door(pool := FakePool([up]), "never") as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await asyncio.sleep(0.05)
            await close(writer)
            await soon(lambda: len(told) == 3 and len(pool.released) == 1)

    run(scenario)
    assert [(t.end, t.status) for t in told] == [
        (End.BROKEN, 200),
        (End.BROKEN, 502),
        (End.CALLER_LEFT, 0),
    ]
    assert told[0].reason and told[1].reason and not told[2].reason


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def read_lines(home: Path) -> list[Mapping[str, object]]:
    try:
        return [json.loads(text) for text in (home / "host" / "access.log").read_text().splitlines()]
    except FileNotFoundError:
        return []


@pytest.mark.timeout(60)
def test_a_host_writes_and_counts_its_requests(host: Served) -> None:
    declare(host.client(), "x")
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{host.url}/fn/echo-dev.live/stream?key={SECRET}", timeout=30)
    wanted = answer.headers["X-Fc-Request-Id"]
    until(lambda: any(found["request_id"] == wanted for found in read_lines(host.home)))
    [found] = [found for found in read_lines(host.home) if found["request_id"] == wanted]
    assert (found["function"], found["qualifier"], found["status"]) == ("echo-dev", "live", 200)
    assert found["end"] == "complete" and found["instance"] == answer.headers["X-Fc-Instance-Id"]
    assert SECRET not in (host.home / "host" / "access.log").read_text()
    page, labels = Page(host), {"function": "echo-dev", "qualifier": "live"}
    assert page.value("requests_total", {**labels, "status": "2xx"}) == 1
    assert page.value("request_seconds_count", labels) == 1
    assert 0.2 < page.value("request_seconds_sum", labels) < 30

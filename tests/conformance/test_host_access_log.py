"""What the front door tells of each exchange, and what a whole host writes and counts of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import requests
from alibabacloud_fc20230330 import models as fc

from tests.conformance import test_host_api_whole_host as whole
from tests.conformance.test_host_api_whole_host import declare, host, until
from tests.conformance.test_host_metrics import Page
from tests.support.host_edge_fakes import (
    FakePool,
    Handler,
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
from tickover.host.access import End, Trace, is_kept, line
from tickover.host.client import AdminClient
from tickover.host.door_relay import ends_with_close
from tickover.host.model import InstanceState, InstanceView
from tickover.host.request_reports import RequestReports

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


UPGRADE = b"GET /fn/chat-dev/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
HELLO, CLOSE = b"\x81\x05hello", b"\x88\x02\x03\xe8"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"


def answers(*parts: bytes, then: Callable[[asyncio.StreamWriter], None] | None = None) -> Handler:
    """An instance that says this, does that, and waits for the other side to go."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then is not None:
            then(writer)
        await reader.read()

    return handle


def reset(writer: asyncio.StreamWriter) -> None:
    """As a process that is killed with bytes unread."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def begun(port: int, request: bytes, wanted: bytes) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readuntil(wanted)
    return writer


@pytest.mark.parametrize(
    ("request_bytes", "handler", "timeout", "end", "reason"),
    [
        (GET, answers(BEGUN, then=lambda w: w.transport.abort()), None, End.BROKEN, "the instance closed"),
        (GET, answers(BEGUN), 1, End.TIMEOUT, "the function's timeout of 1 seconds has passed"),
        (GET, answers(), 1, End.TIMEOUT, "the function's timeout of 1 seconds has passed"),
        (UPGRADE, answers(SWITCH, HELLO), 1, End.TIMEOUT, "the function's timeout of 1 seconds has passed"),
        (
            UPGRADE,
            answers(SWITCH, HELLO, then=reset),
            None,
            End.BROKEN,
            "the instance broke the WebSocket off (1006)",
        ),
        (
            UPGRADE,
            answers(SWITCH, HELLO, then=lambda w: w.write_eof()),
            None,
            End.BROKEN,
            "the instance ended the WebSocket without a close frame (1006)",
        ),
        (UPGRADE, answers(SWITCH, HELLO, CLOSE, then=lambda w: w.write_eof()), None, End.COMPLETE, ""),
    ],
    ids=["died", "timeout", "timeout-early", "timeout-ws", "1006-reset", "1006-eof", "closed"],
)
def test_whatever_is_cut_leaves_its_reason(
    tmp_path: Path, request_bytes: bytes, handler: Handler, timeout: int | None, end: End, reason: str
) -> None:
    told: list[Trace] = []

    async def scenario() -> None:
        async with (
            instance(handler) as up,
            open_door(FakePool([up], timeout=timeout), registry_with(tmp_path), ended=told.append) as port,
        ):
            writer = await begun(port, request_bytes, b"hello" if request_bytes is UPGRADE else b"HTTP/1.1")
            if timeout is None and request_bytes is UPGRADE:
                await asyncio.sleep(0.05)
                writer.write_eof()
            await soon(lambda: len(told) == 1)
            await close(writer)

    run(scenario)
    assert told[0].end is end and told[0].reason.startswith(reason) and bool(reason) is bool(told[0].reason)
    assert is_kept(told[0], 0.0) is (end is not End.COMPLETE)


@pytest.mark.parametrize("request_bytes", [GET, UPGRADE], ids=["stream", "websocket"])
def test_a_host_that_stops_says_so_of_what_it_cuts(tmp_path: Path, request_bytes: bytes) -> None:
    told: list[Trace] = []
    begin = BEGUN if request_bytes is GET else SWITCH + HELLO

    async def scenario() -> None:
        async with instance(answers(begin)) as up:
            async with open_door(FakePool([up]), registry_with(tmp_path), ended=told.append) as port:
                writer = await begun(port, request_bytes, b"h")
            await close(writer)

    run(scenario)
    assert [(t.end, t.reason) for t in told] == [(End.BROKEN, "the host stops")]
    assert is_kept(told[0], 0.0)


def test_what_the_pool_knows_of_an_instances_end_is_added(tmp_path: Path) -> None:
    reports = RequestReports(tmp_path / "access.log", 0.0)
    reasons = {"i-0": "its last requests took too long\nits log ends with: secret", "i-1": "all is well"}
    views = tuple(
        InstanceView(name, "chat-dev", "LATEST", "0", state, 0, 1, 2, 3, reason=reasons[name])
        for name, state in (("i-0", InstanceState.STOPPING), ("i-1", InstanceState.BUSY))
    )
    reports.show(registry_with(tmp_path), FakePool(views=views))
    for name in ("i-0", "i-1", ""):
        trace = Trace("80000000-0000-4000-8000-000000000000", "GET", "/", "h", 1, "chat-dev", "LATEST")
        trace.instance_id, trace.status = name, 200
        trace.end, trace.reason = End.BROKEN, "the instance closed the connection"
        reports.ended(trace)
    asyncio.run(reports.close())
    found = [json.loads(text)["reason"] for text in (tmp_path / "access.log").read_text().splitlines()]
    broken = "the instance closed the connection"
    assert found == [f"{broken} (its last requests took too long)", broken, broken]


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (b"", False),
        (b"\x88\x00", True),
        (HELLO + CLOSE, True),
        (b"\x88\x7d\x03\xe8" + b"x" * 123, True),
        (HELLO, False),
        (CLOSE + HELLO, False),
        (b"\x88\x02\x00\x01", False),  # no such code
        (b"\x88\x01\x03", False),  # half a code
    ],
)
def test_a_close_frame_at_the_end_is_seen(data: bytes, ends: bool) -> None:
    assert ends_with_close(data) is ends


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


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["drained", "killed"])
def test_a_stream_whose_instance_ends_is_told_with_the_pools_reason(
    host: Served, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(whole, "SERVER", whole.SERVER.replace("range(3)", "range(600)"))
    client = host.client()
    declare(client, "x", {"TICKOVER_DRAIN_SECONDS": "0.5"})
    with requests.Session() as session:
        session.trust_env = False
        with session.get(f"{host.url}/fn/echo-dev.live/stream", timeout=30, stream=True) as answer:
            taken = answer.iter_content(chunk_size=None)
            next(taken)
            if how == "drained":
                none = fc.PutProvisionConfigInput(default_target=0)
                client.put_provision_config(
                    "echo-dev", fc.PutProvisionConfigRequest(qualifier="live", body=none)
                )
            else:
                os.kill(AdminClient(host.home).instances()[0]["pid"], signal.SIGKILL)
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                for _ in taken:
                    pass
        wanted = answer.headers["X-Fc-Request-Id"]
    until(lambda: any(found["request_id"] == wanted for found in read_lines(host.home)))
    [found] = [found for found in read_lines(host.home) if found["request_id"] == wanted]
    assert (found["end"], found["status"]) == ("broken", 200)
    reason = str(found["reason"])
    assert reason.startswith("the instance closed the connection")
    assert how == "killed" or reason.endswith("(its last requests took too long)")

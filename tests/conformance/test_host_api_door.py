"""The front door: framing, streaming, back-pressure, refusals."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.host_edge_fakes import (
    FakePool,
    ask,
    echo,
    instance,
    open_door,
    read_body,
    read_head,
    registry_with,
    run,
    until,
)
from tickover.host.model import Refused

GET = b"GET /fn/chat-dev/v1/models?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"


def test_request_reaches_instance_with_prefix_stripped_and_fc_headers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            first, headers, body = await ask(
                port,
                b"POST /fn/chat-dev/v1/chat?x=1 HTTP/1.1\r\nHost: h\r\nX-Fc-Request-Id: forged\r\n"
                b"X-Mine: y\r\nConnection: X-Mine\r\nContent-Length: 5\r\n\r\nhello",
            )
        seen = body.decode().split("\n")
        assert first == "HTTP/1.1 200 OK"
        assert seen[0] == "POST /v1/chat?x=1 HTTP/1.1"
        assert "x-fc-function-name: chat-dev" in seen
        assert "x-fc-qualifier: LATEST" in seen
        assert f"x-fc-request-id: {headers['x-fc-request-id']}" in seen
        assert "x-mine: y" not in seen
        assert "forged" not in body.decode()
        assert seen[-1] == "hello"
        assert headers["x-fc-instance-id"] == "i-0"
        assert headers["x-tickover-waited-ms"] == "12"
        assert headers["x-tickover-woke"] == "false"
        assert pool.released == [("i-0", False)]

    run(scenario)


def test_keep_alive_and_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"".join(b"GET /fn/chat-dev/%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(20)))
            for number in range(20):
                _, headers = await read_head(reader)
                assert (await read_body(reader, headers)).startswith(b"GET /%d " % number)
            writer.close()
        assert len(pool.released) == 20

    run(scenario)


def test_chunked_body_is_passed_on_chunked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            _, _, body = await ask(
                port,
                b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n",
            )
        assert b"transfer-encoding: chunked" in body
        assert body.endswith(b"abcdefg")

    run(scenario)


def test_stream_arrives_chunk_by_chunk_and_lease_lasts_until_its_end(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        writer.write(b"8\r\ndata: 1\n\r\n")
        await go_on.wait()
        writer.write(b"8\r\ndata: 2\n\r\n0\r\n\r\n")
        await reader.read()

    async def scenario() -> None:
        async with instance(stream) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            _, headers = await read_head(reader)
            assert headers["transfer-encoding"] == "chunked"
            assert await reader.readexactly(13) == b"8\r\ndata: 1\n\r\n"
            assert pool.released == []
            go_on.set()
            assert await reader.readexactly(18) == b"8\r\ndata: 2\n\r\n0\r\n\r\n"
            await until(lambda: pool.released == [("i-0", False)])
            writer.close()

    run(scenario)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_answer_without_length_ends_with_the_instances_connection(tmp_path: Path, version: str) -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    async def scenario() -> None:
        async with instance(old) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            raw = f"GET /fn/chat-dev/ HTTP/{version}\r\nHost: h\r\n\r\n".encode()
            _, headers, body = await ask(port, raw)
            assert body == b"until the end"
            assert ("transfer-encoding" in headers) == (version == "1.1")
        assert pool.released == [("i-0", False)]

    run(scenario)


def test_head_has_length_and_no_body(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        await reader.read()

    async def scenario() -> None:
        async with instance(answer) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(b"HEAD /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\n\r\n")
                _, headers = await read_head(reader)
                assert headers["content-length"] == "99"
            writer.close()

    run(scenario)


def test_expect_continue_is_answered_when_an_instance_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        async with (
            instance(echo) as up,
            open_door(FakePool([up], gate=gate), registry_with(tmp_path)) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.05)
            gate.set()
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"ok")
            _, headers = await read_head(reader)
            body = await read_body(reader, headers)
            assert body.endswith(b"ok")
            assert b"expect" not in body
            writer.close()

    run(scenario)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x\r\nTransfer-Encoding: a\r\n\r\n",
        b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nHost: g\r\n\r\n",
        b"GET /fn/chat-dev/ HTTP/1.1\r\n\r\n",
        b"GET /fn/chat-dev/ HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET /fn/chat-dev/" + b"a" * 5000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: 33554433\r\n\r\n",
        b"\x16\x03\x01 this is TLS\r\n\r\n",
    ],
)
def test_ambiguous_or_oversized_head_is_refused_and_never_forwarded(tmp_path: Path, head: bytes) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            first, headers = await read_head(reader)
            assert first.split()[1] == "400"
            assert headers["connection"] == "close"
            assert b'"Code"' in await reader.read()
            writer.close()
        assert pool.granted == []

    run(scenario)


def test_head_without_end_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(FakePool(), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 70_000)
            first, _ = await read_head(reader)
            assert first.split()[1] == "431"
            writer.close()

    run(scenario)


def test_refusal_of_the_pool_has_retry_after(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = FakePool(refusal=Refused(429, "ResourceExhausted", "full", 3))
        async with open_door(pool, registry_with(tmp_path)) as port:
            first, headers, body = await ask(port, GET)
        assert first.split()[1] == "429"
        assert headers["retry-after"] == "3"
        assert b"ResourceExhausted" in body

    run(scenario)


def test_waiting_caller_that_leaves_frees_its_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = FakePool([1], gate=asyncio.Event())
        async with open_door(pool, registry_with(tmp_path)) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await asyncio.sleep(0.05)
            writer.close()
            await until(lambda: pool.cancelled == 1)

    run(scenario)


def test_leaving_caller_closes_the_instances_side(tmp_path: Path) -> None:
    async def scenario() -> None:
        closed = asyncio.Event()

        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            try:
                await reader.read()
            finally:
                closed.set()

        async with (
            instance(endless) as up,
            open_door(pool := FakePool([up]), registry_with(tmp_path)) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await read_head(reader)
            writer.close()
            async with asyncio.timeout(15):
                await closed.wait()
            assert pool.released == [("i-0", False)]

    run(scenario)

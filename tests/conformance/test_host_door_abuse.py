"""Callers that are slow, huge, hasty or half: cut or refused, without harm to anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import resource
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
from tickover.host import door, door_connection
from tickover.host.http import MAX_HEAD_BYTES

GET = b"GET /fn/chat-dev/x HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /fn/chat-dev/x HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(door_connection, "BODY_SLACK_SECONDS", 0.4)


async def drip(port: int, start: bytes, drop: bytes) -> bytes:
    """Send a start, then a drop every 20 ms until the door has had enough; what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    answer = asyncio.ensure_future(reader.read())
    while not answer.done():
        with contextlib.suppress(ConnectionError):
            writer.write(drop)
        await asyncio.sleep(0.02)
    writer.close()
    with contextlib.suppress(ConnectionError):
        return answer.result()
    return b""


@pytest.mark.parametrize(
    ("start", "drop", "status"),
    [
        (b"GET /fn/chat-dev/x HTTP/1.1\r\nHost: h\r\n", b"X-Y: z\r\n", b""),
        (b"G", b"E", b"400"),
        (POST + b"Content-Length: 100000\r\n\r\n", b"x", b"408"),
        (CHUNKED, b"1\r\nx\r\n", b"408"),
        (CHUNKED + b"1", b";a=b", b"408"),
        (CHUNKED + b"0\r\n", b"X-Y: z\r\n", b"408"),
    ],
    ids=["head", "method", "body", "chunks", "chunk extension", "trailers"],
)
def test_slow_senders_are_cut_while_others_are_served(
    tmp_path: Path, impatient: None, start: bytes, drop: bytes, status: bytes
) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            slow = [asyncio.ensure_future(drip(port, start, drop)) for _ in range(20)]
            while not all(one.done() for one in slow):
                assert (await ask(port, GET))[0].split()[1] == "200"
                await asyncio.sleep(0.01)
            for one in slow:
                assert one.result()[9:12] in (status, b"")
            await until(lambda: len(pool.released) == len(pool.granted))

    run(scenario)


def test_a_slow_body_that_keeps_up_is_not_cut(
    tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_connection, "BODY_LEAST_RATE", 100.0)

    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(POST + b"Content-Length: 200\r\n\r\n")
            for _ in range(20):
                writer.write(b"x" * 10)
                await asyncio.sleep(0.03)
            _, headers = await read_head(reader)
            assert (await read_body(reader, headers)).endswith(b"x" * 200)
            writer.close()

    run(scenario)


def test_a_caller_that_answers_a_stream_slowly_is_not_cut(tmp_path: Path, impatient: None) -> None:
    """Both ways at once: the answer has begun, so the caller may take its time with its body."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"3\r\nbye\r\n0\r\n\r\n")
        await reader.read()

    async def scenario() -> None:
        async with instance(talk) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(CHUNKED)
            _, headers = await read_head(reader)
            await asyncio.sleep(0.8)
            writer.write(b"1\r\nx\r\n0\r\n\r\n")
            assert await read_body(reader, headers) == b"hibye"
            writer.close()

    run(scenario)


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        (b"GET /fn/chat-dev/x HTTP/1.1\r\nHost: h\r\n", b"X-Y: z\r\n" * 100_000, b"431"),
        (b"GET /fn/chat-dev/x HTTP/1.1\r\nHost: h\r\n", b"a:\r\n" * 300 + b"\r\n", b"400"),
        (b"GET /fn/chat-dev/", b"x" * 1_000_000, b"431"),
        (CHUNKED + b"1", b";a=b" * 100_000, b"400"),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"X-Y: z\r\n" * 100_000, b"400"),
        (CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"y" * 1_000_000, b"400"),
        (CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"y" * 10_000 + b"\r\n\r\n", b"400"),
    ],
    ids=["headers", "many small headers", "path", "chunk extension", "trailers", "trailer", "trailer bytes"],
)
def test_endless_heads_and_trailers_are_refused(
    tmp_path: Path, start: bytes, more: bytes, status: bytes
) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start + more)
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await reader.read()
            assert answer[9:12] in (status, b"")
            writer.close()
            assert (await ask(port, GET))[0].split()[1] == "200"
            await until(lambda: len(pool.released) == len(pool.granted))

    run(scenario)


def test_memory_is_bounded_whatever_callers_send(tmp_path: Path) -> None:
    """Fifty callers send 2 MB each of heads, trailers and extensions without end: a hundred in all."""

    async def flood(port: int, start: bytes, more: bytes) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        with contextlib.suppress(ConnectionError):
            for _ in range(2_000_000 // len(more)):
                writer.write(more)
                await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            await ask(port, GET)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            starts = (b"GET /", GET[:-2] + b"X: ", CHUNKED + b"1;", CHUNKED + b"0\r\nX: ", GET[:-2])
            floods = [flood(port, start, b"x" * 20_000) for start in starts for _ in range(10)]
            await asyncio.gather(*floods)
            grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown_kb < 50 * 3 * MAX_HEAD_BYTES / 1024 + 16_384
            assert (await ask(port, GET))[0].split()[1] == "200"

    run(scenario)


def test_a_head_with_a_large_body_behind_it_is_no_large_head(tmp_path: Path) -> None:
    body = b"y" * 1_500_000

    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            raw = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
            first, _, answer = await ask(port, raw * 1)
            assert first.split()[1] == "200"
            assert answer.endswith(body)

    run(scenario)


def test_a_thousand_requests_in_one_write_are_answered_in_order(tmp_path: Path) -> None:
    """Served and refused ones mixed: refusals that end at once must not nest."""

    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            paths = [f"/fn/{'chat-dev' if n % 50 == 0 else 'nobody'}/{n}" for n in range(1000)]
            writer.write(b"".join(f"GET {p} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for p in paths))
            for number in range(1000):
                first, headers = await read_head(reader)
                body = await read_body(reader, headers)
                assert first.split()[1] == ("200" if number % 50 == 0 else "404")
                if number % 50 == 0:
                    assert body.startswith(b"GET /%d " % number)
            writer.close()

    run(scenario)


def test_garbage_behind_a_request_costs_it_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET + b"\x00\x01 garbage\r\n\r\n")
            for status in ("200", "400"):
                first, headers = await read_head(reader)
                await read_body(reader, headers)
                assert first.split()[1] == status
            assert await reader.read() == b""
            writer.close()

    run(scenario)


def test_bytes_behind_a_last_request_are_not_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET[:-2] + b"Connection: close\r\n\r\n" + GET)
            first, headers = await read_head(reader)
            assert (first.split()[1], headers["connection"]) == ("200", "close")
            await read_body(reader, headers)
            assert await reader.read() == b""
            assert len(pool.granted) == 1
            writer.close()

    run(scenario)


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n\r\n%b", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_behind_an_upgrade_nobody_offers_is_a_body(tmp_path: Path, framing: bytes) -> None:
    """The parser takes what follows such a head for another protocol: it must not become a request."""
    inner = b"GET /fn/chat-dev/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    if b"%d" in framing:
        framing %= (len(inner), inner)
    else:
        framing += b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)

    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + framing)
                first, headers = await read_head(reader)
                body = await read_body(reader, headers)
                assert first.split()[1] == "200"
                assert body.startswith(b"POST /x HTTP/1.1") and body.endswith(inner)
            assert len(pool.granted) == 2
            writer.close()

    run(scenario)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /fn/chat-dev/ HTTP/2.0\r\nHost: h\r\n\r\n", "505"),
        (b"GET /fn/chat-dev/ HTTP/0.9\r\nHost: h\r\n\r\n", "505"),
        (b"POST /fn/chat-dev/ HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        (b"PROPFIND /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\n\r\n", "405"),
        (b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", "417"),
        (b"GET /fn/chat-dev/ HTTP/1.1\nHost: h\n\n", "400"),
        (b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", "400"),
        (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", "400"),
        (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", "400"),
        (CHUNKED + b"3\nabc\n0\n\n", "400"),
        (CHUNKED + b"ffffffffffffffffff\r\nabc", "400"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(tmp_path: Path, head: bytes, status: str) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            first, headers = await read_head(reader)
            assert first.split()[1] == status
            assert headers["connection"] == "close"
            writer.close()
            await until(lambda: len(pool.released) == len(pool.granted))

    run(scenario)


def test_length_with_spaces_around_it_is_a_length(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            first, _, body = await ask(port, POST + b"Content-Length:  3 \r\n\r\nabc")
            assert first.split()[1] == "200"
            assert b"content-length: 3\n" in body

    run(scenario)

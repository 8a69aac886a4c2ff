"""Callers that misuse HTTP/2: cut or refused, without harm to anybody else, with bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.h2_peer import Peer, connect
from tests.support.host_edge_fakes import FakePool, ask, echo, instance, open_door, registry_with, run, until
from tickover.host import door, door_connection, door_h2
from tickover.host.h2_engine import STREAMS, TABLE_BYTES, Engine
from tickover.host.h2_patience import MOST

GET = b"GET /fn/chat-dev/x HTTP/1.1\r\nHost: h\r\n\r\n"
FIELDS = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", b"/fn/chat-dev/x")]


def head_of(peer: Peer, number: int) -> bytes:
    """The frame of a request, its fields not in the compression table."""
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in FIELDS)
    return HeadersFrame(number, block, flags=["END_HEADERS", "END_STREAM"]).serialize()


def _text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def rapid_reset(peer: Peer, n: int) -> bytes:
    number = 2 * n + 1
    return head_of(peer, number) + RstStreamFrame(number, 8).serialize()


def ping(peer: Peer, n: int) -> bytes:
    return PingFrame(0, b"12345678").serialize()


def settings(peer: Peer, n: int) -> bytes:
    return SettingsFrame(0, {3: 100}).serialize()


def priority(peer: Peer, n: int) -> bytes:
    return PriorityFrame(2 * n + 1, depends_on=0, stream_weight=1).serialize()


def empty_data(peer: Peer, n: int) -> bytes:
    if n == 0:
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in FIELDS)
        return HeadersFrame(1, block, flags=["END_HEADERS"]).serialize()
    return DataFrame(1, b"").serialize()


def window(peer: Peer, n: int) -> bytes:
    return WindowUpdateFrame(0, 1).serialize()


def too_many(peer: Peer, n: int) -> bytes:
    return head_of(peer, 2 * n + 1)


@pytest.mark.parametrize("flood", [rapid_reset, ping, settings, priority, empty_data, window, too_many])
def test_a_flood_is_cut_and_others_are_served(tmp_path: Path, flood: Callable[[Peer, int], bytes]) -> None:
    async def scenario() -> None:
        pool = FakePool([1], gate=asyncio.Event())
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports[0] = up
            await peer.step()
            for n in range(int(MOST) + STREAMS + 200):
                peer.writer.write(flood(peer, n))
            async with asyncio.timeout(15):
                await peer.hear(lambda: bool(peer.goaways))
            is_many = flood is too_many  # more streams in one write than there may ever be: a broken rule
            assert peer.goaways[0][1] == (
                ErrorCodes.PROTOCOL_ERROR if is_many else ErrorCodes.ENHANCE_YOUR_CALM
            )
            pool.gate.set()
            assert (await ask(port, GET))[0].split()[1] == "200"
            await until(lambda: len(pool.released) == len(pool.granted))

    run(scenario)


def test_frames_for_a_stream_that_is_over_do_not_come_for_ever(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(FakePool([1]), registry_with(tmp_path)) as port, connect(port) as peer:
            await peer.step()
            number = peer.request(method="POST", ends=False)
            peer.reset(number)
            peer.writer.write(DataFrame(number, b"").serialize() * 20 * int(MOST))
            async with asyncio.timeout(15):
                await peer.hear(lambda: bool(peer.goaways))
            assert peer.goaways[0][1] == ErrorCodes.ENHANCE_YOUR_CALM

    run(scenario)


def test_resets_of_a_caller_that_takes_as_many_answers_are_no_flood(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            for _ in range(int(MOST) // 2):
                for _ in range(2):
                    peer.reset(peer.request())
                answers = [await peer.whole(n) for n in [peer.request(), peer.request()]]
                assert [answer.status for answer in answers] == [200, 200]

    run(scenario)


def test_one_stream_too_many_is_refused_by_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = FakePool(gate=asyncio.Event())
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            numbers = [peer.request() for _ in range(STREAMS + 1)]  # the host's settings are not read yet
            assert (await peer.whole(numbers[-1])).reset == ErrorCodes.REFUSED_STREAM
            pool.gate.set()
            assert {(await peer.whole(number)).status for number in numbers[:-1]} == {200}

    run(scenario)


@pytest.mark.parametrize(
    "more",
    [
        [(b"connection", b"close")],
        [(b"transfer-encoding", b"chunked")],
        [(b"x", b"a\r\nhost: evil")],
        [(b"X-Upper", b"1")],
        [(b"host", b"other")],
        [(b":protocol", b"websocket")],
        [(b"content-length", b"7")],
    ],
    ids=["connection", "transfer-encoding", "line end", "upper case", "host", "websocket", "length"],
)
def test_a_malformed_request_costs_its_stream_only(tmp_path: Path, more: list[tuple[bytes, bytes]]) -> None:
    async def scenario() -> None:
        pool = FakePool()
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            bad, good = peer.request(more=more), peer.request()
            assert (await peer.whole(bad)).status == 400
            assert b"malformed" in peer.answers[bad].body
            assert (await peer.whole(good)).status == 200
            assert len(pool.granted) == 1

    run(scenario)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ([(b"x", b"y" * 9000)], 400),
        ([(b"x-%d" % n, b"") for n in range(300)], 400),
        ([(b"content-length", b"99999999999")], 400),
        ([(b"expect", b"tea")], 417),
    ],
)
def test_the_bounds_of_http_1_hold(tmp_path: Path, more: list[tuple[bytes, bytes]], status: int) -> None:
    async def scenario() -> None:
        async with open_door(FakePool([1]), registry_with(tmp_path)) as port, connect(port) as peer:
            number = peer.request(method="POST", more=more, ends=False)
            await peer.hear(lambda: peer.answers[number].status != 0)
            assert peer.answers[number].status == status
            long = await peer.whole(peer.request("/" + "x" * 5000))
            assert long.status == 400

    run(scenario)


@pytest.mark.parametrize(
    ("length", "sent", "ends_with_trailers"), [(5, 3, False), (5, 3, True), (3, 5, False)]
)
def test_a_body_of_another_length_than_said_is_no_request(
    tmp_path: Path, length: int, sent: int, ends_with_trailers: bool
) -> None:
    async def scenario() -> None:
        pool, whole = FakePool(), []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(asyncio.IncompleteReadError):
                whole.append(await reader.readexactly(length))

        async with (
            instance(listen) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            peer.takes = False
            number = peer.request(method="POST", more=[(b"content-length", b"%d" % length)], ends=False)
            peer.data(number, b"x" * sent, ends=not ends_with_trailers)
            if ends_with_trailers:
                peer.engine.send_headers(number, [(b"x-t", b"1")], end_stream=True)
                peer.flush()
            answer = peer.answers[number]
            await peer.hear(lambda: answer.is_over or bool(peer.goaways))
            assert answer.status == 400 or peer.goaways[0][1] == ErrorCodes.PROTOCOL_ERROR
            await until(lambda: len(pool.released) == len(pool.granted))
            assert whole == []

    run(scenario)


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\0\1\0\0\0\0\0\0x",
        DataFrame(1, b"x").serialize(),
        b"\xff\xff\xff\0\0\0\0\0\1",
        HeadersFrame(2, b"\x82", flags=["END_HEADERS"]).serialize(),
        HeadersFrame(1, b"\xff\xff\xff", flags=["END_HEADERS"]).serialize(),
        ContinuationFrame(1, b"").serialize(),
        WindowUpdateFrame(0, 2**31 - 1).serialize(),
        b"\0\0\5\4\0\0\0\0\0abcde",
    ],
)
def test_a_broken_connection_is_told_why_and_closed(
    tmp_path: Path, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_h2, "LINGER_SECONDS", 0.05)

    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            async with connect(port) as peer:
                await peer.step()
                peer.writer.write(raw + b"\0" * 100_000)
                async with asyncio.timeout(15):
                    await peer.closed()
                assert peer.goaways and peer.goaways[0][1] != 0
            assert (await ask(port, GET))[0].split()[1] == "200"

    run(scenario)


@pytest.mark.parametrize("size", [0, 1, 16000])
def test_a_head_without_an_end_is_cut(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        async with open_door(FakePool([1]), registry_with(tmp_path)) as port, connect(port) as peer:
            await peer.step()
            peer.writer.write(HeadersFrame(1, b"\x82").serialize())
            for _ in range(80):
                peer.writer.write(ContinuationFrame(1, b"\0" * size).serialize())
            async with asyncio.timeout(15):
                await peer.hear(lambda: bool(peer.goaways))

    run(scenario)


def test_a_list_of_headers_that_unpacks_to_megabytes_is_cut(tmp_path: Path) -> None:
    """One field of 4 KB in the compression table, then named a thousand times."""

    async def scenario() -> None:
        async with open_door(FakePool([1]), registry_with(tmp_path)) as port, connect(port) as peer:
            await peer.step()
            large = (
                b"\x40\1x" + b"\x7f" + bytes([0x80 | (3900 - 127) & 0x7F, (3900 - 127) >> 7]) + b"v" * 3900
            )
            frame = HeadersFrame(1, large + b"\xbe" * 1000, flags=["END_HEADERS", "END_STREAM"])
            peer.writer.write(frame.serialize())
            async with asyncio.timeout(15):
                await peer.hear(lambda: bool(peer.goaways))
            assert peer.goaways[0][1] == ErrorCodes.ENHANCE_YOUR_CALM

    run(scenario)


def test_a_caller_cannot_make_the_hosts_table_of_fields_grow():
    engine = Engine()
    engine.receive_data(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    for allowed, kept in ((2**32 - 1, TABLE_BYTES), (100, 100), (2**31, TABLE_BYTES)):
        engine.receive_data(SettingsFrame(0, {1: allowed}).serialize())
        assert engine.encoder.header_table_size == kept


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(door_connection, "BODY_SLACK_SECONDS", 0.4)
    monkeypatch.setattr(door_h2, "STALLED_SECONDS", 0.4)


def test_a_slow_body_is_refused_and_its_neighbour_is_not(tmp_path: Path, impatient: None) -> None:
    async def scenario() -> None:
        pool = FakePool()
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            slow = peer.request(method="POST", ends=False)
            while not peer.answers[slow].status:
                peer.data(slow, b"x")
                assert (await peer.whole(peer.request())).status == 200
                await asyncio.sleep(0.02)
            assert peer.answers[slow].status == 408
            await until(lambda: len(pool.released) == len(pool.granted))

    run(scenario)


def test_a_slow_preface_or_head_is_closed(tmp_path: Path, impatient: None) -> None:
    async def scenario() -> None:
        async with open_door(FakePool([1]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(b"PRI * HTT")
                async with asyncio.timeout(15):
                    assert await reader.read() == b""
            async with connect(port) as peer:
                peer.writer.write(HeadersFrame(1, b"\x82").serialize())
                async with asyncio.timeout(15):
                    await peer.closed()

    run(scenario)


def test_an_answer_that_nobody_takes_is_given_up(tmp_path: Path, impatient: None) -> None:
    async def scenario() -> None:
        pool = FakePool()
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            peer.engine.update_settings({4: 0})  # no window for any answer
            peer.flush()
            number = peer.request()
            async with asyncio.timeout(15):
                await peer.hear(lambda: peer.answers[number].reset is not None)
            assert peer.answers[number].reset == ErrorCodes.CANCEL
            assert len(pool.released) == 1

    run(scenario)


def test_memory_is_bounded_whatever_callers_send(tmp_path: Path) -> None:
    """Twenty callers: heads without an end, bodies in frames of one byte that nobody takes, pings unread."""

    async def flood(port: int, pieces: list[bytes]) -> None:
        async with connect(port) as peer:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(5):
                    for piece in pieces:
                        peer.writer.write(piece)
                        await peer.writer.drain()

    def post(number: int) -> bytes:
        fields = [(b":method", b"POST"), *FIELDS[1:]]
        body = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
        return HeadersFrame(number, body, flags=["END_HEADERS"]).serialize()

    async def scenario() -> None:
        pool = FakePool([1], gate=asyncio.Event())
        async with instance(echo) as up, open_door(pool, registry_with(tmp_path)) as port:
            pool.ports[0] = up
            heads = [
                HeadersFrame(1, b"\x82").serialize(),
                *[ContinuationFrame(1, b"\0" * 16000).serialize()] * 60,
            ]
            drips = [post(1), *[DataFrame(1, b"x").serialize() * 1000] * 60]
            pings = [PingFrame(0, b"12345678").serialize() * 1000] * 100
            await flood(port, heads)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await asyncio.gather(*(flood(port, pieces) for pieces in (heads, drips, pings) for _ in range(7)))
            grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown_kb < 40_000
            pool.gate.set()
            assert (await ask(port, GET))[0].split()[1] == "200"

    run(scenario)

"""Connections of HTTP/2 at the front door: their windows, their beginnings and their ends."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, GoAwayFrame

from tests.support.h2_peer import Answer, Peer, connect
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
from tickover.host import door, door_h2
from tickover.host.door import Door
from tickover.host.h2_engine import STREAM_WINDOW_BYTES, STREAMS

STREAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_a_stream_that_is_not_read_holds_its_instance_and_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        sent = [0]

        async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first, _ = await read_head(reader)
            if "/pour" not in first:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                return
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            writer.write(STREAMED)
            while sent[0] < 32 * 1024 * 1024:
                writer.write(chunk(b"x" * 65536))
                sent[0] += 65536
                await writer.drain()
            writer.write(b"0\r\n\r\n")

        async with (
            instance(pour) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            peer.engine.increment_flow_control_window(2**30)  # the connection's is no bound here
            peer.takes = False
            number = peer.request("/fn/chat-dev/pour")
            await peer.hear(lambda: len(peer.answers[number].body) >= 65535)
            before = -1
            while sent[0] != before:
                before = sent[0]
                await asyncio.sleep(0.1)
            assert before < 16 * 1024 * 1024  # sockets' buffers and ours, not all there is
            for _ in range(3):
                assert (await peer.whole(peer.request())).body == b"ok"
            assert len(peer.answers[number].body) == 65535
            peer.takes = True
            peer.engine.increment_flow_control_window(2**30, number)
            peer.flush()
            answer = await peer.whole(number)
            assert len(answer.body) == sent[0] == 32 * 1024 * 1024

    run(scenario)


def test_a_body_that_the_instance_does_not_take_is_not_taken_from_the_caller(tmp_path: Path) -> None:
    body = bytes(range(256)) * 4096 * 6  # 6 MB

    async def scenario() -> None:
        go = asyncio.Event()

        async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first, headers = await read_head(reader)
            if "/lazy" in first:
                await go.wait()
            found = hashlib.sha256(await read_body(reader, headers)).hexdigest().encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + found)

        async with (
            instance(lazy) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            number = peer.request("/fn/chat-dev/lazy", method="POST", ends=False)
            upload = asyncio.ensure_future(peer.upload(number, body))
            await asyncio.sleep(0.5)
            assert not upload.done()
            assert peer.engine.local_flow_control_window(number) == 0
            assert peer.engine.outbound_flow_control_window > 0  # others may send
            go.set()
            await upload
            assert (await peer.whole(number)).body == hashlib.sha256(body).hexdigest().encode()

    run(scenario)


def test_a_large_body_goes_up_and_down(tmp_path: Path) -> None:
    body = bytes(range(256)) * 4096 * 8

    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            number = peer.request(method="POST", more=[(b"content-length", b"%d" % len(body))], ends=False)
            await peer.upload(number, body)
            answer = await peer.whole(number)
            assert answer.body.endswith(b"\n\n" + body)

    run(scenario)


def test_what_is_on_its_way_when_a_stream_breaks_off_costs_the_others_nothing(tmp_path: Path) -> None:
    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, _ = await read_head(reader)
        is_whole = "/whole" in first
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\npart" % (4 if is_whole else 100))

    async def scenario() -> None:
        async with (
            instance(breaks) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            number = peer.request(method="POST", ends=False)
            assert (await peer.whole(number)).reset == ErrorCodes.INTERNAL_ERROR
            for _ in range(STREAM_WINDOW_BYTES // 16000):
                peer.writer.write(DataFrame(number, b"x" * 16000).serialize())
            other = await peer.whole(peer.request("/fn/chat-dev/whole"))
            assert (other.status, other.body, peer.goaways) == (200, b"part", [])

    run(scenario)


def test_windows_that_shrink_and_grow_are_kept(tmp_path: Path) -> None:
    """A window of a few bytes, made smaller while an answer is under way: it is sent in such pieces."""

    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            peer.engine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
            peer.takes = False
            number = peer.request(more=[(b"x-long", b"y" * 100)])
            await peer.hear(lambda: len(peer.answers[number].body) == 10)
            peer.engine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 3})
            peer.engine.increment_flow_control_window(17, number)
            peer.flush()
            await peer.hear(lambda: len(peer.answers[number].body) == 20)
            peer.engine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
            peer.flush()
            answer = await peer.whole(number)
            assert len(answer.body) == int(answer.headers["content-length"])

    run(scenario)


def test_a_caller_that_says_goaway_still_gets_what_it_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = FakePool(gate=asyncio.Event())
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            number = peer.request()
            await asyncio.sleep(0.05)
            peer.writer.write(GoAwayFrame(0).serialize())
            await asyncio.sleep(0.05)
            pool.gate.set()
            assert (await peer.whole(number)).status == 200
            await peer.closed()

    run(scenario)


def _open_doors(monkeypatch: pytest.MonkeyPatch) -> list[Door]:
    """The doors that are opened from now on."""
    made: list[Door] = []
    opening = Door.open

    async def open_and_tell(self: Door, sock: socket.socket) -> None:
        made.append(self)
        await opening(self, sock)

    monkeypatch.setattr(Door, "open", open_and_tell)
    return made


def test_a_hand_over_finishes_what_is_open_and_sends_the_caller_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = _open_doors(monkeypatch)

    async def scenario() -> None:
        pool = FakePool(gate=asyncio.Event())
        given: list[int] = []
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            number = peer.request()
            await asyncio.sleep(0.05)
            doors[0].pass_on(lambda descriptor: given.append(descriptor) is None)
            late = peer.request()  # on its way before the caller could hear
            await peer.hear(lambda: len(peer.goaways) == 2)
            assert peer.goaways == [(2**31 - 1, 0), (late, 0)]
            refused = peer.request()
            assert (await peer.whole(refused)).reset == ErrorCodes.REFUSED_STREAM
            pool.gate.set()
            assert [(await peer.whole(n)).status for n in (number, late)] == [200, 200]
            await peer.closed()
            assert given == []

    run(scenario)


def test_a_slow_caller_of_a_connection_that_is_retired_gets_its_whole_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instance is done long before: the end of the answer and of the connection are one moment."""
    doors = _open_doors(monkeypatch)

    async def scenario() -> None:
        pool = FakePool()
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            peer.engine.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
            peer.takes = False
            number = peer.request()
            await peer.hear(lambda: len(peer.answers[number].body) == 10)
            await until(lambda: len(pool.released) == 1)
            doors[0].pass_on(lambda _: True)
            await peer.hear(lambda: len(peer.goaways) == 2)
            peer.engine.increment_flow_control_window(1000, number)
            peer.flush()
            answer = await peer.whole(number)
            assert answer.is_complete and len(answer.body) == int(answer.headers["content-length"])
            await peer.closed()

    run(scenario)


def test_an_idle_connection_is_sent_away_and_pings_do_not_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(door, "HEAD_SECONDS", 0.3)

    async def pinging(peer: Peer) -> None:
        while not peer.is_closed:
            peer.engine.ping(b"12345678")
            peer.flush()
            await asyncio.sleep(0.05)

    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            assert (await peer.whole(peer.request())).status == 200
            pings = asyncio.ensure_future(pinging(peer))
            async with asyncio.timeout(15):
                await peer.closed()
            await pings
            assert [code for _, code in peer.goaways] == [0, 0]

    run(scenario)


def test_the_preface_may_come_in_any_pieces_and_http_1_is_untouched(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            for cut in (*range(1, 26), 30):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = Peer(reader, writer)
                peer.engine.initiate_connection()
                number = peer.engine.get_next_available_stream_id()
                fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h")]
                peer.engine.send_headers(number, [*fields, (b":path", b"/fn/chat-dev/x")], end_stream=True)
                raw = peer.engine.data_to_send()
                peer.answers[number] = answer = Answer()
                with contextlib.closing(writer):
                    writer.write(raw[:cut])
                    await asyncio.sleep(0.01)
                    writer.write(raw[cut:])
                    await peer.hear(lambda answer=answer: answer.is_over)
                assert answer.status == 200
            second = b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\n\r\n"
            first, _, _ = await ask(port, second)
            assert first == "HTTP/1.1 200 OK"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(second + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")  # in the middle it is no preface
                for status in ("200", "400"):
                    first, headers = await read_head(reader)
                    await read_body(reader, headers)
                    assert first.split()[1] == status

    run(scenario)


@pytest.mark.parametrize(
    ("first", "then", "status"),
    [
        (b"GET /fn/chat-dev/", b" HTTQ/1.1\r\n\r\n", "400"),
        (b"GET /", b" HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        (b"PRI /", b" HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
        (b"PRI ", b"* HTTP/2.0\r\nHost: h\r\n\r\n" + b"x" * 20, "400"),
        (b"PRI * ", b"HTTP/1.1\r\nHost: h\r\n\r\n", "400"),
    ],
)
def test_what_only_looks_like_a_preface_is_refused_in_http_1(
    tmp_path: Path, first: bytes, then: bytes, status: str
) -> None:
    async def scenario() -> None:
        async with open_door(FakePool([1]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(first)
                await asyncio.sleep(0.02)
                writer.write(then)
                assert (await read_head(reader))[0].split()[:2] == ["HTTP/1.1", status]

    run(scenario)


def test_a_large_first_write_is_all_read(tmp_path: Path) -> None:
    """More than a head of HTTP/1.1 may be: the rest of it goes on as HTTP/2 too."""

    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            peer = Peer(reader, writer)
            peer.engine.initiate_connection()
            number = peer.engine.get_next_available_stream_id()
            fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"h")]
            peer.engine.send_headers(number, [*fields, (b":path", b"/fn/chat-dev/x")])
            peer.answers[number] = answer = Answer()
            for _ in range(3):
                peer.engine.send_data(number, b"z" * 16384)
            peer.engine.end_stream(number)
            peer.flush()
            with contextlib.closing(writer):
                await peer.hear(lambda: answer.is_over)
            assert answer.body.endswith(b"\n\n" + b"z" * 3 * 16384)

    run(scenario)


def test_what_the_host_offers_is_said_in_its_settings(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(FakePool([1]), registry_with(tmp_path)) as port, connect(port) as peer:
            await peer.step()
            told = peer.engine.remote_settings
            assert told.max_concurrent_streams == STREAMS
            assert told.initial_window_size == STREAM_WINDOW_BYTES
            assert told[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 0
            assert peer.engine.outbound_flow_control_window == door_h2.WINDOW_BYTES

    run(scenario)

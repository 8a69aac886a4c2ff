"""HTTP/2 at the front door: requests, answers as they come, cancels."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from h2.errors import ErrorCodes

from tests.support.h2_peer import connect
from tests.support.host_edge_fakes import (
    FakePool,
    echo,
    instance,
    open_door,
    read_head,
    registry_with,
    run,
    until,
)
from tickover.host import door_h2
from tickover.host.access import End, Trace, line
from tickover.host.model import Refused

STREAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_requests_of_each_form_reach_the_instance_as_http_1(tmp_path: Path) -> None:
    traces: list[Trace] = []

    async def scenario() -> None:
        pool = FakePool()
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path), ended=traces.append) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            more = [(b"cookie", b"a=1"), (b"x-fc-account-id", b"stolen"), (b"cookie", b"b=2")]
            plain = await peer.whole(peer.request("/fn/chat-dev/x?y=1", more=more))
            assert plain.status == 200
            assert plain.body.startswith(b"GET /x?y=1 HTTP/1.1\nhost: h\ncookie: a=1; b=2\n")
            assert b"stolen" not in plain.body
            assert "x-fc-request-id" in plain.headers and "connection" not in plain.headers

            sized = peer.request(method="POST", more=[(b"content-length", b"5")], ends=False)
            peer.data(sized, b"hello", ends=True)
            answer = await peer.whole(sized)
            assert b"\ncontent-length: 5\n" in answer.body and answer.body.endswith(b"\n\nhello")

            chunked = peer.request(method="POST", ends=False)
            peer.data(chunked, b"hel")
            peer.data(chunked, b"lo", ends=True)
            answer = await peer.whole(chunked)
            assert b"\ntransfer-encoding: chunked\n" in answer.body and answer.body.endswith(b"\n\nhello")

            head = await peer.whole(peer.request(method="HEAD"))
            assert (head.status, head.body, head.is_complete) == (200, b"", True)
            assert int(head.headers["content-length"]) > 0

            assert (await peer.whole(peer.request("/fn/nobody/"))).status == 404
            assert (await peer.whole(peer.request(method="PROPFIND"))).status == 405
            await until(lambda: len(pool.released) == len(pool.granted) == 4)

    run(scenario)
    assert {trace.protocol for trace in traces} == {"2"}
    assert json.loads(line(traces[0]))["protocol"] == "HTTP/2"
    assert [trace.end for trace in traces] == [End.COMPLETE] * 6


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """204, 304, an answer until the end of the connection, trailers: by path."""
    first, _ = await read_head(reader)
    writer.write(
        {
            "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
            "/304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
            "/close": b"HTTP/1.0 200 OK\r\n\r\nall of it",
            "/trailers": STREAMED + b"2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
            "/empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n",
            "/broken": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        }[first.split()[1]]
    )


def test_answers_of_each_form_keep_theirs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            instance(_answers) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            numbers = {
                name: peer.request(f"/fn/chat-dev/{name}")
                for name in ("204", "304", "close", "trailers", "empty", "broken")
            }
            found = {name: await peer.whole(number) for name, number in numbers.items()}
            assert [found[name].status for name in numbers] == [204, 304, 200, 200, 200, 200]
            assert found["close"].body == b"all of it"
            assert (found["trailers"].body, found["trailers"].trailers) == (b"hi", {"x-sum": "7"})
            assert found["empty"].headers["content-length"] == "0" and "x-hop" not in found["empty"].headers
            assert found["broken"].reset == ErrorCodes.INTERNAL_ERROR
            assert all(found[name].is_complete for name in numbers if name != "broken")

    run(scenario)


def test_trailers_and_100_continue_pass(tmp_path: Path) -> None:
    async def scenario() -> None:
        seen = asyncio.get_running_loop().create_future()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            seen.set_result(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        async with (
            instance(listen) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            number = peer.request(method="POST", more=[(b"expect", b"100-continue")], ends=False)
            await peer.hear(lambda: peer.answers[number].informational == [100])
            peer.data(number, b"abc")
            peer.engine.send_headers(number, [(b"x-sum", b"1"), (b"host", b"evil")], end_stream=True)
            peer.flush()
            assert (await peer.whole(number)).body == b"ok"
            assert await seen == b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"

    run(scenario)


def test_a_hundred_streams_at_once_are_answered_each_for_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = FakePool()
        async with (
            instance(echo) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            pool.gate = asyncio.Event()
            numbers = [peer.request(f"/fn/chat-dev/{n}") for n in range(100)]
            while len(peer.answers) < 100:
                await peer.step()
            await asyncio.sleep(0.05)
            pool.gate.set()
            for n, number in enumerate(numbers):
                answer = await peer.whole(number)
                assert answer.status == 200 and answer.body.startswith(b"GET /%d " % n)
            await until(lambda: len(pool.released) == 100)

    run(scenario)


def test_an_event_goes_out_when_it_comes(tmp_path: Path) -> None:
    """Each event is written only when the caller has the one before it."""

    async def scenario() -> None:
        go = asyncio.Event()

        async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(STREAMED)
            for n in range(5):
                writer.write(chunk(b"data: %d\n\n" % n))
                await go.wait()
                go.clear()
            writer.write(b"0\r\n\r\n")

        async with (
            instance(events) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            connect(port) as peer,
        ):
            number = peer.request()
            answer = peer.answers[number]
            for n in range(5):
                await peer.hear(lambda n=n: len(answer.pieces) == n + 1)
                assert not answer.is_complete
                go.set()
            await peer.whole(number)
            assert answer.body == b"".join(b"data: %d\n\n" % n for n in range(5))

    run(scenario)


def test_a_reset_stops_the_instance_at_once_and_no_other_stream(tmp_path: Path) -> None:
    traces: list[Trace] = []

    async def scenario() -> None:
        left = asyncio.Event()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first, _ = await read_head(reader)
            writer.write(STREAMED + chunk(b"data: 1\n\n"))
            if "/gone" in first:
                assert await reader.read() == b""
                left.set()
                return
            await left.wait()
            writer.write(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

        pool = FakePool()
        async with (
            instance(listen) as up,
            open_door(pool, registry_with(tmp_path), ended=traces.append) as port,
            connect(port) as peer,
        ):
            pool.ports.append(up)
            stays, gone = peer.request("/fn/chat-dev/stays"), peer.request("/fn/chat-dev/gone")
            await peer.hear(lambda: all(peer.answers[n].pieces for n in (stays, gone)))
            peer.reset(gone)
            async with asyncio.timeout(15):
                await left.wait()
            assert (await peer.whole(stays)).body == b"data: 1\n\ndata: 2\n\n"
            await until(lambda: len(pool.released) == 2)

    run(scenario)
    assert {trace.path[-5:]: trace.end for trace in traces} == {
        "/gone": End.CALLER_LEFT,
        "stays": End.COMPLETE,
    }


def test_a_reset_leaves_the_queue_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = FakePool([1], gate=asyncio.Event())
        async with open_door(pool, registry_with(tmp_path)) as port, connect(port) as peer:
            numbers = [peer.request(), peer.request()]
            await asyncio.sleep(0.05)
            peer.reset(numbers[0])
            await until(lambda: pool.cancelled == 1)
        await until(lambda: pool.cancelled == 2)  # and so does a connection that goes

    run(scenario)


def test_an_early_answer_is_whole_before_the_rest_of_the_body_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is just about to end its body sees no reset; who goes on does, after a while."""
    monkeypatch.setattr(door_h2, "LINGER_SECONDS", 0.3)

    async def scenario() -> None:
        pool = FakePool(refusal=Refused(429, "ResourceExhausted", "the queue is full", 1))
        async with open_door(pool, registry_with(tmp_path)) as port, connect(port) as peer:
            ends, goes_on = (peer.request(method="POST", ends=False) for _ in range(2))
            for number in (ends, goes_on):
                answer = await peer.whole(number)
                assert (answer.status, answer.reset, answer.headers["retry-after"]) == (429, None, "1")
                assert json.loads(answer.body)["Code"] == "ResourceExhausted"
                peer.data(number, b"x" * 100, ends=number == ends)
            await peer.hear(lambda: peer.answers[goes_on].reset is not None)
            assert peer.answers[goes_on].reset == ErrorCodes.NO_ERROR
            assert peer.answers[ends].reset is None

    run(scenario)

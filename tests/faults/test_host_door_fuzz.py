"""The real front door between peers that nobody here wrote (h11, websockets) and bytes nobody should send.

Whatever comes: the instance sees exactly the requests that were let through, the caller sees HTTP or a closed
connection, every lease comes back, and the door goes on serving.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h11
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.host_edge_fakes import FakePool, instance, open_door, registry_with

TIMES = int(os.environ.get("TICKOVER_FUZZ", "1"))  # so many times the examples of the suite
FUZZ = settings(
    max_examples=60 * TIMES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
HOST = ("Host", "h")
TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda name: "q-" + name)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
BODY = st.lists(st.binary(max_size=300), max_size=6)
CUTS = st.lists(st.integers(0, 400), max_size=6)


@dataclass
class Scene:
    """A door, an instance whose answers a test scripts, and what the instance has seen."""

    loop: asyncio.AbstractEventLoop
    pool: FakePool
    port: int = 0
    requests: list[h11.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    trailers: list[object] = field(default_factory=list)
    broken: list[h11.RemoteProtocolError] = field(default_factory=list)
    answer: Callable[[asyncio.StreamWriter, h11.Connection], Awaitable[bool]] | None = None

    def run(self, work: Awaitable[object]) -> object:
        async def bounded() -> object:
            async with asyncio.timeout(10):
                return await work

        return self.loop.run_until_complete(bounded())

    def forget(self) -> None:
        for kept in (self.requests, self.bodies, self.trailers, self.broken):
            kept.clear()
        self.pool.granted.clear()
        self.pool.released.clear()
        self.answer = None

    async def all_given_back(self) -> None:
        for _ in range(400):
            if len(self.pool.released) == len(self.pool.granted):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"{self.pool.granted} was granted, {self.pool.released} came back")

    async def serves(self) -> bool:
        self.forget()
        _, writer, events = await exchange(self.port, h11.Request(method="GET", target=PATH, headers=[HOST]))
        writer.close()
        return events[0].status_code == 200


PATH = "/fn/chat-dev/x"


async def ok(writer: asyncio.StreamWriter, peer: h11.Connection) -> bool:
    """The scripted instance's usual answer; True: the connection goes on."""
    writer.write(peer.send(h11.Response(status_code=200, headers=[("content-length", "2")])))
    writer.write(peer.send(h11.Data(data=b"ok")))
    writer.write(peer.send(h11.EndOfMessage()))
    return True


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    loop = uvloop.new_event_loop()
    pool = FakePool()
    found = Scene(loop, pool)

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h11.Connection(h11.SERVER)
        body = b""
        while True:
            try:
                event = peer.next_event()
            except h11.RemoteProtocolError as problem:
                found.broken.append(problem)
                return
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                if not data and peer.their_state is not h11.SEND_BODY:
                    return
                peer.receive_data(data)
            elif isinstance(event, h11.Request):
                found.requests.append(event)
                body = b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.bodies.append(body)
                found.trailers.append(list(event.headers))
                if not await (found.answer or ok)(writer, peer):
                    return
                if peer.our_state is not h11.DONE or peer.their_state is not h11.DONE:
                    return
                peer.start_next_cycle()
            else:
                return

    async def opened(stack: contextlib.AsyncExitStack) -> None:
        pool.ports = [await stack.enter_async_context(instance(play))]
        registry = registry_with(Path(folder))
        found.port = await stack.enter_async_context(open_door(pool, registry))

    with tempfile.TemporaryDirectory() as folder:
        stack = contextlib.AsyncExitStack()
        loop.run_until_complete(opened(stack))
        yield found
        loop.run_until_complete(stack.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def exchange(
    port: int, request: h11.Request, body: list[bytes] = (), trailers: list[object] = (), cuts: list[int] = ()
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, list[object]]:
    """A request by h11, cut at odd places, and the events of its answer."""
    peer = h11.Connection(h11.CLIENT)
    raw = peer.send(request)
    raw += b"".join(peer.send(h11.Data(data=part)) for part in body)
    raw += peer.send(h11.EndOfMessage(headers=trailers))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await send_cut(writer, raw, cuts)
    events: list[object] = []
    while not events or not isinstance(events[-1], h11.EndOfMessage | h11.ConnectionClosed):
        event = peer.next_event()
        if event is h11.NEED_DATA:
            peer.receive_data(await reader.read(65536))
        else:
            events.append(event)
    return reader, writer, events


async def send_cut(writer: asyncio.StreamWriter, raw: bytes, cuts: list[int]) -> None:
    """In pieces, as long as the door listens."""
    at = 0
    for size in (*cuts, len(raw)):
        if writer.is_closing():
            return
        writer.write(raw[at : at + size])
        at += size
        await asyncio.sleep(0)


def body_of(events: list[object]) -> bytes:
    return b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))


@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    headers=st.lists(st.tuples(TOKEN, VALUE), max_size=8, unique_by=lambda pair: pair[0]),
    body=BODY,
    chunked=st.booleans(),
    trailer=VALUE,
    cuts=CUTS,
)
def test_any_request_of_h11_arrives_as_it_was_sent(scene, method, headers, body, chunked, trailer, cuts):
    scene.forget()
    framing = ("transfer-encoding", "chunked") if chunked else ("content-length", str(sum(map(len, body))))
    request = h11.Request(method=method, target=PATH, headers=[HOST, *headers, framing])
    trailers = [("q-sum", trailer)] if chunked else []

    async def scenario():
        _, writer, events = await exchange(scene.port, request, body, trailers, cuts)
        writer.close()
        assert (events[0].status_code, body_of(events)) == (200, b"ok")
        await scene.all_given_back()

    scene.run(scenario())
    assert scene.broken == []
    [seen] = scene.requests
    assert seen.method.decode() == method
    assert scene.bodies == [b"".join(body)]
    arrived = {(k.decode(), v.decode()) for k, v in seen.headers if k.startswith(b"q-")}
    assert arrived == {(name, value.strip()) for name, value in headers}
    assert scene.trailers == [[(b"q-sum", trailer.strip().encode())] if chunked else []]


@FUZZ
@given(
    status=st.sampled_from([200, 201, 204, 301, 304, 404, 500, 503]),
    body=BODY,
    framing=st.sampled_from(["length", "chunked", "close"]),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    trailer=VALUE,
    hints=st.integers(0, 2),
)
def test_any_answer_of_h11_arrives_as_it_was_sent(scene, status, body, framing, method, trailer, hints):
    scene.forget()
    whole = b"".join(body)
    has_body = method != "HEAD" and status not in (204, 304)
    headers = {
        "length": [("content-length", str(len(whole)))],
        "chunked": [("transfer-encoding", "chunked")],
        "close": [("connection", "close")],
    }[framing]

    async def answer(writer: asyncio.StreamWriter, peer: h11.Connection) -> bool:
        for _ in range(hints):
            writer.write(peer.send(h11.InformationalResponse(status_code=103, headers=[("link", "x")])))
        writer.write(peer.send(h11.Response(status_code=status, headers=[("q-a", "b"), *headers])))
        for part in body if has_body else ():
            writer.write(peer.send(h11.Data(data=part)))
            await asyncio.sleep(0)
        end = h11.EndOfMessage(headers=[("q-sum", trailer)] if framing == "chunked" and has_body else [])
        writer.write(peer.send(end))
        return framing != "close"

    scene.answer = answer

    async def scenario():
        request = h11.Request(method=method, target=PATH, headers=[HOST, ("content-length", "0")])
        _, writer, events = await exchange(scene.port, request)
        writer.close()
        assert events[0].status_code == status
        assert dict(events[0].headers)[b"q-a"] == b"b"
        assert body_of(events) == (whole if has_body else b"")
        if framing == "chunked" and has_body:
            assert list(events[-1].headers) == [(b"q-sum", trailer.strip().encode())]
        await scene.all_given_back()

    scene.run(scenario())
    assert scene.broken == []


GOOD = (
    b"GET /fn/chat-dev/a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /fn/chat-dev/b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /fn/chat-dev/c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /fn/chat-dev/d HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"PUT /fn/chat-dev/e HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n"
    b"Content-Length: 2\r\n\r\nhi",
)
INSERTS = (
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b"\x00",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: x\r\n",
    b"0\r\n\r\n",
    b"\r\n ",
    b"HTTP/1.1",
    b"GET /fn/chat-dev/z HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\xff",
    b";ext",
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Requests one after the other, with a few bytes put in, taken out or changed."""
    raw = bytearray(b"".join(draw(st.lists(st.sampled_from(GOOD), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        what = draw(st.sampled_from(("insert", "delete", "change")))
        if what == "insert":
            raw[at:at] = draw(st.sampled_from(INSERTS))
        elif what == "delete":
            del raw[at : at + draw(st.integers(1, 12))]
        elif at < len(raw):
            raw[at] = draw(st.integers(0, 255))
    return bytes(raw)


def read_answers(raw: bytes) -> list[int]:
    """The statuses of answers that follow each other; fails where they are not HTTP."""
    statuses: list[int] = []
    while raw:
        peer = h11.Connection(h11.CLIENT)
        peer.send(h11.Request(method="GET", target="/", headers=[HOST]))
        peer.send(h11.EndOfMessage())
        peer.receive_data(raw)
        peer.receive_data(b"")
        while not isinstance(event := peer.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            assert event is not h11.PAUSED
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
        raw = peer.trailing_data[0]
    return statuses


@settings(FUZZ, max_examples=250 * TIMES)
@given(raw=mangled(), cuts=CUTS)
def test_mangled_requests_smuggle_nothing_and_are_answered_in_http(scene, raw, cuts):
    scene.forget()

    async def scenario() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
        await send_cut(writer, raw, cuts)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while data := await asyncio.wait_for(reader.read(65536), 0.02):
                answer += data
        writer.transport.abort()
        await scene.all_given_back()
        return answer

    answer = scene.run(scenario())
    # A body that breaks off is passed on as such; nothing else is wrong with what is passed on.
    assert [p for p in scene.broken if "without sending complete message body" not in str(p)] == []
    # Each request that was let through is one request to the instance, and no answer is to nothing.
    assert len(scene.requests) <= len(scene.pool.granted)
    statuses = read_answers(answer)
    assert len(statuses) <= raw.count(b"HTTP/1") + 1
    assert statuses.count(200) <= len(scene.requests)
    assert set(statuses) <= {200, 400, 404, 405, 408, 417, 431, 505}


def test_after_all_that_it_serves(scene):
    assert scene.run(scene.serves())


ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw",
)


@settings(FUZZ, max_examples=150 * TIMES)
@given(
    raw=st.sampled_from(ANSWERS),
    edits=st.lists(st.tuples(st.integers(0, 90), st.sampled_from((*INSERTS, b""))), max_size=3),
)
def test_a_mangled_answer_never_becomes_another_requests_answer(scene, raw, edits):
    scene.forget()
    mangled_raw = raw
    for at, insert in edits:
        mangled_raw = mangled_raw[:at] + insert + mangled_raw[at + (not insert) :]

    async def answer(writer: asyncio.StreamWriter, peer: h11.Connection) -> bool:
        if scene.requests[-1].target != b"/bad":
            return await ok(writer, peer)
        writer.write(mangled_raw)
        await writer.drain()
        return False

    scene.answer = answer

    async def scenario() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
        writer.write(b"GET /fn/chat-dev/bad HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        got = b""
        with contextlib.suppress(ConnectionError):
            got = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        _, writer, events = await exchange(
            scene.port, h11.Request(method="GET", target="/fn/chat-dev/good", headers=[HOST])
        )
        writer.close()
        assert (events[0].status_code, body_of(events)) == (200, b"ok")
        await scene.all_given_back()
        return got

    got = scene.run(scenario())
    with contextlib.suppress(h11.RemoteProtocolError):  # a cut answer is seen as cut
        assert len(read_answers(got)) <= 1

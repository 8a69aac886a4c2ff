"""Frames nobody should send, at the door: no failure inside, nothing smuggled, every lease comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.h2_peer import connect
from tests.support.host_edge_fakes import FakePool, instance, open_door, read_body, read_head, registry_with

TIMES = int(os.environ.get("TICKOVER_FUZZ", "1"))  # so many times the examples of the suite
FUZZ = settings(
    max_examples=120 * TIMES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATH = b"/fn/chat-dev/x"


@dataclass
class Scene:
    loop: asyncio.AbstractEventLoop
    pool: FakePool
    port: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # first lines at the instance
    reached: int = 0  # requests that got through, in all


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    loop = uvloop.new_event_loop()
    found = Scene(loop, FakePool())
    loop.set_exception_handler(lambda _, context: found.failures.append(context))

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            first, headers = await read_head(reader)
            found.seen.append(first)
            found.reached += 1
            await read_body(reader, headers)
            writer.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
            )

    async def opened(stack: contextlib.AsyncExitStack) -> None:
        found.pool.ports = [await stack.enter_async_context(instance(play))]
        found.port = await stack.enter_async_context(open_door(found.pool, registry_with(Path(folder))))

    with tempfile.TemporaryDirectory() as folder:
        stack = contextlib.AsyncExitStack()
        loop.run_until_complete(opened(stack))
        yield found
        loop.run_until_complete(stack.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


GOOD = b"".join(
    literal(*pair)
    for pair in ((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", PATH))
)
FIELDS = st.lists(
    st.sampled_from(
        [
            (b"content-length", b"3"),
            (b"content-length", b"0"),
            (b"transfer-encoding", b"chunked"),
            (b"host", b"other"),
            (b"x", b"a\r\nb: c"),
            (b":path", b"/fn/chat-dev/ HTTP/1.1\r\n\r\nGET /fn/chat-dev/smuggled"),
            (b"expect", b"100-continue"),
            (b"cookie", b"a=1"),
            (b"te", b"trailers"),
        ]
    ),
    max_size=3,
)
BODIES = st.one_of(
    st.binary(max_size=20),
    FIELDS.map(lambda pairs: GOOD + b"".join(literal(*pair) for pair in pairs)),
    st.sampled_from(
        [GOOD, b"abc", b"GET /fn/chat-dev/smuggled HTTP/1.1\r\nHost: h\r\n\r\n", bytes(4), b"\0\0\0\7"]
    ),
)


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A caller's requests; and frames of any kind and flags, for its streams and others, some changed."""
    first = PREFACE + frame(4, 0, 0, b"")
    for stream in (1, 3)[: draw(st.integers(0, 2))]:
        pairs = draw(FIELDS)
        fields = GOOD + b"".join(literal(*pair) for pair in pairs)
        first += frame(1, draw(st.sampled_from((4, 5))), stream, fields)
    raw = bytearray()
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from((0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 200)))
        flags = draw(st.sampled_from((0, 1, 4, 5, 5, 8, 0x20, 0xFF)))
        stream = draw(st.sampled_from((0, 1, 1, 1, 3, 3, 3, 5, 2, 2**31 - 1)))
        raw += frame(kind, flags, stream, draw(BODIES))
    for _ in range(draw(st.sampled_from((0, 0, 1, 3)))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return first, bytes(raw)


@FUZZ
@given(raw=frames(), at=st.integers(0, 200), is_slow=st.booleans())
def test_any_frames_leave_the_door_whole(
    scene: Scene, raw: tuple[bytes, bytes], at: int, is_slow: bool
) -> None:
    async def scenario() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
        with contextlib.suppress(ConnectionError, TimeoutError):
            for piece in (raw[0], raw[1][:at], raw[1][at:]):
                writer.write(piece)
                await asyncio.sleep(0.003 * is_slow)
            while await asyncio.wait_for(reader.read(65536), 0.01):
                pass
        writer.transport.abort()
        for _ in range(400):
            if len(scene.pool.released) == len(scene.pool.granted):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"{scene.pool.granted} was granted, {scene.pool.released} came back")

    scene.pool.granted.clear()
    scene.pool.released.clear()
    scene.seen.clear()
    scene.loop.run_until_complete(asyncio.wait_for(scenario(), 10))
    assert scene.failures == []
    # Each request that was let through is one request to the instance, to the path that was granted.
    assert len(scene.seen) <= len(scene.pool.granted)
    assert all(re.fullmatch(r"[A-Z]+ /x HTTP/1\.1", first) for first in scene.seen)


def test_after_all_that_it_serves(scene: Scene) -> None:
    assert scene.reached > 10  # the frames above were not all broken

    async def scenario() -> None:
        async with connect(scene.port) as peer:
            answer = await peer.whole(peer.request())
            assert (answer.status, answer.body, answer.trailers) == (200, b"abc", {"x-t": "1"})

    scene.loop.run_until_complete(asyncio.wait_for(scenario(), 20))
    assert scene.failures == []

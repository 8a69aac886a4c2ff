"""An answer of the host's own that is made while it is sent: whole, slow, left, broken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path

from tests.support.host_edge_fakes import FakePool, ask, open_door, registry_with, run, until
from tickover.host.access import End, Trace
from tickover.host.door_context import Whole
from tickover.host.door_stream import Streamed

GET = b"GET /_tickover/v1/logs HTTP/1.1\r\nHost: h\r\n\r\n"
Make = Callable[[], AsyncGenerator[bytes, None]]


@contextlib.asynccontextmanager
async def door(path: Path, make: Make, told: list[Trace]) -> AsyncIterator[int]:
    async def admin(whole: Whole) -> Streamed:
        return Streamed(make())

    wanted: Callable[[Whole], Awaitable[Streamed]] = admin
    async with open_door(FakePool(), registry_with(path), admin=wanted, ended=told.append) as port:  # type: ignore[arg-type]
        yield port


async def three() -> AsyncGenerator[bytes, None]:
    for n in range(3):
        yield b"%d\n" % n


def test_a_stream_is_chunked_and_the_connection_goes_on(tmp_path: Path) -> None:
    told: list[Trace] = []

    async def scenario() -> None:
        async with door(tmp_path, three, told) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(GET)
                answer = await reader.readuntil(b"\r\n0\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n")
                assert answer.endswith(b"\r\n\r\n2\r\n0\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n")
            writer.close()

    run(scenario)
    assert [(t.status, t.end) for t in told] == [(200, End.COMPLETE)] * 2


def test_http_1_0_gets_plain_lines(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with door(tmp_path, three, []) as port:
            head, _, body = await ask(port, GET.replace(b"1.1", b"1.0"))
            assert body == b"0\n1\n2\n" and "transfer-encoding" not in str(head).lower()

    run(scenario)


def test_a_slow_reader_holds_the_making_up_and_one_that_leaves_ends_it(tmp_path: Path) -> None:
    told: list[Trace] = []
    made = 0
    is_closed = False

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal made, is_closed
        try:
            while True:
                made += 1
                yield b"x" * 65_535 + b"\n"
        finally:
            is_closed = True

    async def scenario() -> None:
        async with door(tmp_path, endless, told) as port:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            sock.connect(("127.0.0.1", port))
            sock.send(GET)
            before = -1
            while made != before:  # until it stands still
                before = made
                await asyncio.sleep(0.1)
            assert 4 <= made < 200  # 256 KB of the door's and what the kernel takes
            taken = 0
            sock.setblocking(False)
            while made == before:
                taken += len(await asyncio.get_running_loop().sock_recv(sock, 65_536))
            assert taken > 0
            sock.close()
            await until(lambda: is_closed)
            standing = made
            await asyncio.sleep(0.05)
            assert made == standing

    run(scenario)
    assert [t.end for t in told] == [End.CALLER_LEFT]


def test_one_that_fails_in_the_middle_is_seen_as_broken(tmp_path: Path) -> None:
    told: list[Trace] = []

    async def failing() -> AsyncGenerator[bytes, None]:
        yield b"0\n"
        raise ValueError("a log went mad")

    async def scenario() -> None:
        async with door(tmp_path, failing, told) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            data = b""
            with contextlib.suppress(ConnectionError):
                data = await reader.read(-1)
            assert b"0\r\n\r\n" not in data.partition(b"\r\n\r\n")[2] and b"mad" not in data
            writer.close()
            await until(lambda: len(told) == 1)

    run(scenario)
    assert [(t.end, t.reason) for t in told] == [
        (End.BROKEN, "the host failed on this request; see host.log")
    ]

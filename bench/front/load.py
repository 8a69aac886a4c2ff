"""Loads on a front: one connection, wrk, streams, idle WebSockets, an open loop.

Owns: the clients of the bench. Promises: bounded in time and number; every answer is checked (one that is not
what was asked for ends the bench, as a fast error is not a fast answer). Never: starts a server.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from bench.front.fronts import Front, cpu_seconds

TOKEN: Final = "bench-token-0123456789"
FIELDS: Final = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
_SECONDS: Final = 10.0
_OPENING_AT_A_TIME: Final = 100


def percentile(values: Sequence[float], part: float) -> float:
    """By nearest rank."""
    return sorted(values)[math.ceil(len(values) * part) - 1]


# -- one connection ------------------------------------------------------------------------------------


class Single:
    """A connection kept open, used by one request at a time, without an event loop in between."""

    def __init__(self, port: int, path: str) -> None:
        self._request = f"GET {path} HTTP/1.1\r\n{FIELDS}\r\n".encode()
        self._sock = socket.create_connection(("127.0.0.1", port), _SECONDS)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> float:
        """Seconds of one request."""
        began = time.perf_counter()
        self._sock.sendall(self._request)
        read = b""
        while not read.endswith(b"ok\n"):
            chunk = self._sock.recv(65536)
            if not chunk:
                sys.exit(f"no answer, but {read!r}")
            read += chunk
        took = time.perf_counter() - began
        if not read.startswith(b"HTTP/1.1 200"):
            sys.exit(f"not answered: {read!r}")
        return took

    def close(self) -> None:
        self._sock.close()


def latencies_ms(targets: dict[str, tuple[int, str]], rounds: int) -> dict[str, float]:
    """Median of each target (port, path); one request to each in turn."""
    singles = {name: Single(*where) for name, where in targets.items()}
    found: dict[str, list[float]] = {name: [] for name in targets}
    for number in range(rounds + rounds // 10):
        for name, single in singles.items():
            took = single.ask()
            if number >= rounds // 10:
                found[name].append(took * 1000)
    for single in singles.values():
        single.close()
    return {name: statistics.median(values) for name, values in found.items()}


# -- wrk -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pressed:
    """rps: as wrk counts. cpu_us: processor time of the front per request. busy: its share of its core."""

    rps: float
    cpu_us: float
    busy: float


def pressed(front: Front, connections: int, seconds: int) -> Pressed:
    """As many requests as a front takes; wrk runs on the core of its parent."""
    began, before = time.perf_counter(), cpu_seconds(front.pid)
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s"]
    command += ["-H", f"Authorization: Bearer {TOKEN}", f"http://127.0.0.1:{front.port}{front.small}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 20)
    spent, took = cpu_seconds(front.pid) - before, time.perf_counter() - began
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if done.returncode or not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        sys.exit(f"wrk against {front.name} was not answered as it should be:\n{done.stdout}{done.stderr}")
    rps = float(found.group(1))
    return Pressed(rps, spent * 1e6 / (rps * took), spent / took)


# -- streams -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Streamed:
    """first_ms: from the request to the first event. events: all that came."""

    first_ms: float
    events: int


async def streams(front: Front, count: int, chunks: int, gap: float) -> list[Streamed]:
    """That many streams at once."""
    limit = chunks * gap + 30
    async with asyncio.timeout(limit):
        return list(await asyncio.gather(*(_stream(front, chunks, gap) for _ in range(count))))


async def _stream(front: Front, chunks: int, gap: float) -> Streamed:
    async with _connection(front.port) as (reader, writer):
        began = time.perf_counter()
        path = f"{front.events}?count={chunks}&gap={gap:g}"
        writer.write(f"GET {path} HTTP/1.1\r\n{FIELDS}Connection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            sys.exit(f"{front.name} does not stream: {head!r}")
        first, events = 0.0, 0
        while data := await reader.read(65536):
            if not events:
                first = (time.perf_counter() - began) * 1000
            events += data.count(b"data: ")
        if events != chunks:
            sys.exit(f"{front.name}: {events} events of {chunks} came")
        return Streamed(first, events)


@contextlib.asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


# -- idle WebSockets -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def websockets(port: int, path: str, count: int) -> AsyncIterator[int]:
    """Open that many and keep them; how many are open."""
    sockets: list[socket.socket] = []
    try:
        for start in range(0, count, _OPENING_AT_A_TIME):
            batch = range(start, min(count, start + _OPENING_AT_A_TIME))
            sockets += await asyncio.gather(*(_websocket(port, path) for _ in batch))
        yield len(sockets)
    finally:
        for sock in sockets:
            sock.close()


async def _websocket(port: int, path: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    async with asyncio.timeout(_SECONDS):
        await loop.sock_connect(sock, ("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        fields += "Sec-WebSocket-Version: 13"
        await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\n{FIELDS}{fields}\r\n\r\n".encode())
        read = b""
        while b"\r\n\r\n" not in read:
            chunk = await loop.sock_recv(sock, 4096)
            if not chunk:
                sys.exit(f"a WebSocket was not opened: {read!r}")
            read += chunk
    if not read.startswith(b"HTTP/1.1 101"):
        sys.exit(f"a WebSocket was refused: {read!r}")
    return sock


# -- open loop -----------------------------------------------------------------------------------------


class _Kept(asyncio.Protocol):
    """One kept connection of the open loop."""

    def __init__(self, free: deque[_Kept], taken: list[float]) -> None:
        self._free, self._taken = free, taken
        self._due, self._read = 0.0, b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        if self.transport is not None:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        if self._read.endswith(b"ok\n"):
            if not self._read.startswith(b"HTTP/1.1 200"):
                sys.exit(f"the open loop was answered {self._read!r}")
            self._taken.append(time.perf_counter() - self._due)
            self._read = b""
            self._free.append(self)


async def open_loop(port: int, path: str, rate: int, seconds: float) -> list[float]:
    """Milliseconds of each request from the moment at which it was due, whoever was late.

    By the finer clock: uvloop's own counts in milliseconds.
    """
    loop = asyncio.get_running_loop()
    free: deque[_Kept] = deque()
    taken: list[float] = []
    request = f"GET {path} HTTP/1.1\r\n{FIELDS}\r\n".encode()
    made: list[_Kept] = []
    for _ in range(128):
        _, protocol = await loop.create_connection(lambda: _Kept(free, taken), "127.0.0.1", port)
        made.append(protocol)
    free.extend(made)
    began, total = time.perf_counter() + 0.1, int(rate * seconds)
    sent, last = 0, began + seconds + _SECONDS
    while sent < total and time.perf_counter() < last:
        now = time.perf_counter()
        while sent < total and began + sent / rate <= now and free:
            free.popleft().ask(request, began + sent / rate)
            sent += 1
        await asyncio.sleep(0.0005)
    for _ in range(int(_SECONDS / 0.01)):
        if len(taken) == total:
            break
        await asyncio.sleep(0.01)
    for kept in made:
        if kept.transport is not None:
            kept.transport.close()
    if len(taken) < total:
        sys.exit(f"{total - len(taken)} of {total} requests of the open loop were not answered")
    return [seconds * 1000 for seconds in taken]

"""The loads: wrk, streams of events, an open loop, WebSockets that stay open.

Owns: asking and timing. Promises: each load ends by itself; an answer that is not as wanted ends the whole
bench with an error, never becomes a figure. Never: knows who answers.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bench.front.sides import LOAD_CORE, TOKEN

TICK: Final = os.sysconf("SC_CLK_TCK")
_HEADERS: Final = f"Host: bench\r\nAuthorization: Bearer {TOKEN}\r\n"
_UNITS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_SWITCH: Final = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What wrk says. p50_ms: of a request."""

    rps: float
    p50_ms: float


def wrk(port: int, path: str, connections: int, seconds: float) -> Told:
    """wrk on the core of the loads. Raises SystemExit for any answer that is no 200."""
    words = [
        "taskset",
        "-c",
        str(LOAD_CORE),
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--latency",
    ]
    words += ["-H", f"Authorization: Bearer {TOKEN}", f"http://127.0.0.1:{port}{path}"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"error: wrk against port {port}:\n{said}")
    rps = re.search(r"Requests/sec:\s+([\d.]+)", said)
    half = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    if rps is None or half is None:
        raise SystemExit(f"error: wrk said something else:\n{said}")
    return Told(float(rps[1]), float(half[1]) * _UNITS[half[2]])


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far."""
    found = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        found += int(fields[11]) + int(fields[12])
    return found / TICK


def rss_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@dataclass(frozen=True, slots=True)
class Streams:
    """first_ms: to the first event of a stream, median. cpu_us: of the proxy for an event."""

    first_ms: float
    cpu_us: float


def streams(port: int, path: str, pids: tuple[int, ...], count: int, events: int, pause: float) -> Streams:
    """So many streams at a time, each with so many events, so many seconds between two."""
    before = cpu_seconds(pids)
    firsts = asyncio.run(_streams(port, f"{path}?count={events}&pause={pause:g}", count, events))
    used = cpu_seconds(pids) - before
    return Streams(sorted(firsts)[len(firsts) // 2] * 1000, used * 1e6 / (count * events))


async def _streams(port: int, path: str, count: int, events: int) -> list[float]:
    async def one() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\n{_HEADERS}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise SystemExit(f"error: a stream was answered {head!r}")
        await reader.readuntil(b"data: ")
        first, seen, kept = time.perf_counter() - began, 1, b""
        while seen < events:
            data = await reader.read(65536)
            if not data:
                raise SystemExit(f"error: a stream ended after {seen} of {events} events")
            kept += data
            seen += kept.count(b"data: ")
            kept = kept[-5:]
        writer.close()
        return first

    return list(await asyncio.gather(*(one() for _ in range(count))))


def open_loop(port: int, path: str, rps: int, seconds: float, connections: int) -> tuple[float, float]:
    """Median and p99 in ms, from the moment that a request was due; requests do not wait for answers."""
    found = sorted(asyncio.run(_open_loop(port, path, rps, seconds, connections)))
    return found[len(found) // 2] * 1000, found[int(len(found) * 0.99)] * 1000


async def _open_loop(port: int, path: str, rps: int, seconds: float, connections: int) -> list[float]:
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    asked = f"GET {path} HTTP/1.1\r\n{_HEADERS}\r\n".encode()
    took: list[float] = []

    async def one(due: float) -> None:
        reader, writer = await free.get()
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise SystemExit(f"error: answered {head!r}")
        await reader.readexactly(2)
        took.append(time.perf_counter() - due)
        free.put_nowait((reader, writer))

    began = time.perf_counter() + 0.05
    tasks = []
    for number in range(int(rps * seconds)):
        due = began + number / rps
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    while not free.empty():
        free.get_nowait()[1].close()
    return took


def websockets(port: int, path: str, pid: int, count: int) -> tuple[float, float]:
    """The proxy's memory in MiB before and with so many open, idle WebSockets."""
    return asyncio.run(_websockets(port, path, pid, count))


async def _websockets(port: int, path: str, pid: int, count: int) -> tuple[float, float]:
    before = rss_mib(pid)
    limit = asyncio.Semaphore(200)
    kept: list[asyncio.StreamWriter] = []

    async def one() -> None:
        async with limit:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\n{_HEADERS}{_SWITCH}".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise SystemExit(f"error: a WebSocket was answered {head!r}")
            kept.append(writer)

    await asyncio.gather(*(one() for _ in range(count)))
    await asyncio.sleep(1)
    after = rss_mib(pid)
    for writer in kept:
        writer.close()
    return before, after

"""Small HTTP and TCP questions to an instance on the loopback.

Owns: one request on one connection. Promises: every question has a deadline; an answer is read up to a bound.
Never: keeps a connection, follows a redirect, retries.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_ANSWER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(eq=False)
class NoAnswer(Exception):
    """The question was not answered; reason is a phrase."""

    reason: str

    def __str__(self) -> str:
        return self.reason


async def connects(host: str, port: int, seconds: float) -> bool:
    """Whether something listens there."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def ask(
    host: str,
    port: int,
    method: str,
    path: str,
    seconds: float,
    body: dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One HTTP/1.1 request. Raises NoAnswer."""
    payload = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
        f"User-Agent: tickover\r\nAccept: */*\r\nContent-Length: {len(payload)}\r\n"
    )
    head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    if payload:
        head += "Content-Type: application/json\r\n"
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(head.encode("latin-1") + b"\r\n" + payload)
                return await _read(reader)
            finally:
                writer.close()
    except TimeoutError as error:
        raise NoAnswer(f"no answer within {seconds:g} s") from error
    except OSError as error:
        raise NoAnswer(error.strerror or str(error)) from error
    except (ValueError, asyncio.IncompleteReadError) as error:
        raise NoAnswer("the answer is not HTTP") from error


async def _read(reader: asyncio.StreamReader) -> Answer:
    version, _, rest = (await reader.readline()).partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError("no status line")
    status = int(rest[:3])
    headers: dict[str, str] = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Answer(status, await _read_chunks(reader))
    if "content-length" in headers:
        return Answer(status, await reader.readexactly(min(int(headers["content-length"]), MAX_ANSWER_BYTES)))
    return Answer(status, await reader.read(MAX_ANSWER_BYTES))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while len(found) <= MAX_ANSWER_BYTES:
        size = int((await reader.readline()).split(b";")[0], 16)
        if size == 0:
            break
        found += await reader.readexactly(size)
        await reader.readexactly(2)
    return found

"""An answer of the host's own that is made while it is sent.

Owns: its bytes on the way to one caller. Promises: the next piece is made only when the caller has taken
the former ones, so that a slow one costs no memory; one that leaves ends the making. Never: knows its words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

from tickover.host.access import Trace
from tickover.host.http import Head

NDJSON: Final = b"application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Streamed:
    """Pieces of JSON lines, none of them empty."""

    pieces: AsyncGenerator[bytes, None]


class Taker(Protocol):
    """The caller's connection."""

    def write(self, data: bytes) -> None: ...


class Outflow:
    """Sends one streamed answer."""

    def __init__(self, caller: Taker, trace: Trace) -> None:
        self._caller = caller
        self._trace = trace
        self._is_writable = asyncio.Event()
        self._is_writable.set()

    def set_caller_writable(self, writable: bool) -> None:
        if writable:
            self._is_writable.set()
        else:
            self._is_writable.clear()

    async def run(self, answer: Streamed, head: Head, request_id: str) -> bool:
        """Send all of it; whether the connection can be used again."""
        is_chunked = head.version != "1.0"
        framing = b"transfer-encoding: chunked\r\n" if is_chunked else b""
        keep_alive = is_chunked and head.keeps_alive
        self._trace.status = 200
        self._write(
            b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncache-control: no-store\r\nX-Fc-Request-Id: %b\r\n%b"
            b"connection: %b\r\n\r\n"
            % (NDJSON, request_id.encode(), framing, b"keep-alive" if keep_alive else b"close")
        )
        async with aclosing(answer.pieces) as pieces:
            async for piece in pieces:
                self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                await self._is_writable.wait()
                await asyncio.sleep(0)  # a caller that takes all at once does not keep others waiting
        if is_chunked:
            self._write(b"0\r\n\r\n")
        return keep_alive

    def _write(self, data: bytes) -> None:
        self._trace.sent(len(data), time.monotonic_ns())
        self._caller.write(data)

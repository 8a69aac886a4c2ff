"""Connections from the front door to instances.

Owns: the sockets to instances and the few that are kept for the next request. Promises: a kept connection
is idle, clean and young; what follows a response's end is never taken for another response. Never:
decides which instance, retries.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

import httptools

from tickover.host.door_write import NO_DESCRIPTOR, descriptor_of, write_now
from tickover.host.http import Headers

# Shorter than the keep-alive of any server in use (uvicorn: 5 s), so that a kept one is rarely stale.
KEEP_SECONDS = 2.0
KEEP_PER_INSTANCE = 64
CONNECT_SECONDS = 5.0
WRITE_HIGH_BYTES = 256 * 1024
_HEAD_LIMIT = 8 * 1024
_DRY_LIMIT = 8 * _HEAD_LIMIT  # without a byte of body


class Listener(Protocol):
    """Who hears what an instance answers."""

    def on_head(self, status: int, reason: bytes, headers: Headers, *, has_length: int | None) -> None: ...
    def on_body(self, data: bytes) -> None: ...
    def on_flush(self) -> None: ...
    def on_end(self, *, reusable: bool, trailers: Headers) -> None: ...
    def on_switched(self, rest: bytes) -> None: ...
    def on_raw(self, data: bytes) -> None: ...
    def on_raw_eof(self) -> None: ...
    def on_broken(self, why: str) -> None: ...
    def on_writable(self, writable: bool) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One socket to an instance; serves one listener at a time."""

    def __init__(self, pool: UpstreamPool, address: tuple[str, int]) -> None:
        self.address = address
        self.used = False  # has served a request before this one
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._descriptor = NO_DESCRIPTOR
        self._listener: Listener | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._since_body = 0  # bytes since the last piece of a body
        self._ended = False
        self._keep = False
        self._until_close = False
        self._method = ""
        self._is_raw = False
        self._excess = False
        self._is_fresh = False  # the parser is at the start of a message
        self.is_writable = True

    # -- for the exchange ------------------------------------------------------------------------------

    def attach(self, listener: Listener, method: str) -> None:
        self._listener = listener
        self._method = method
        if not self._is_fresh:
            self._parser = httptools.HttpResponseParser(self)
            self._is_fresh = True
        self._ended = self._keep = self._until_close = self._is_raw = False

    def detach(self) -> None:
        self._listener = None

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            write_now(self._transport, self._descriptor, data)

    def write_eof(self) -> None:
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        """Let go of the instance at once; what it still sends is not read."""
        self._listener = None
        if self._transport is not None:
            self._transport.abort()

    def set_reading(self, reading: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if reading and not transport.is_reading():
            transport.resume_reading()
        elif not reading and transport.is_reading():
            transport.pause_reading()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # -- asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._descriptor = descriptor_of(transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        listener, parser = self._listener, self._parser
        if listener is None or parser is None:
            self._pool.forget(self)  # bytes nobody asked for: this connection is not clean
            self.close()
            return
        if self._is_raw:
            listener.on_raw(data)
            return
        self._since_body += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as switch:
            self._switch(listener, data[switch.args[0] :])
            return
        except httptools.HttpParserError as err:
            if not self._ended:
                self._break(f"the instance's answer is not HTTP: {err}")
                return
            self._excess = True
        if self._since_body > _DRY_LIMIT and not self._ended:
            self._break("the instance's answer has no end of its head, or of what follows its body")
            return
        listener.on_flush()
        if self._ended:
            self._end(listener)

    def eof_received(self) -> bool:
        if self._is_raw and self._listener is not None:
            self._listener.on_raw_eof()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.forget(self)
        listener, self._listener = self._listener, None
        if listener is None or self._ended:
            return
        if self._until_close and exc is None and not self._is_raw:
            listener.on_flush()
            listener.on_end(reusable=False, trailers=())
        else:
            listener.on_broken("the instance closed the connection")

    def pause_writing(self) -> None:
        self.is_writable = False
        if self._listener is not None:
            self._listener.on_writable(False)

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._listener is not None:
            self._listener.on_writable(True)

    # -- httptools -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._ended:  # a second answer to one request
            self._excess = True
            return
        self._reason = b""
        self._headers = []

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self._headers.append((name, value or b""))

    def on_headers_complete(self) -> None:
        parser, listener = self._parser, self._listener
        if parser is None or listener is None or self._ended:
            return
        status = int(parser.get_status_code())
        if 100 <= status < 200 and status != 101:
            return  # the door has said 100 itself; other hints are not relayed
        length: int | None = None
        is_chunked = False
        size = 0
        for name, value in self._headers:
            size += len(value)
            if len(name) == 14 and name.lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
            elif len(name) == 17 and name.lower() == b"transfer-encoding":
                is_chunked = True
        if size > _HEAD_LIMIT:
            self._break(f"the instance's answer has more than {_HEAD_LIMIT} bytes of headers")
            return
        self._keep = bool(parser.should_keep_alive())
        has_body = self._method != "HEAD" and status not in (101, 204, 304)
        self._until_close = has_body and length is None and not is_chunked
        headers, self._headers = tuple(self._headers), []  # trailers may follow
        listener.on_head(status, self._reason, headers, has_length=None if is_chunked else length)
        if self._method == "HEAD":
            self._ended = True
            self._is_fresh = False  # the parser waits for a body

    def on_body(self, body: bytes) -> None:
        self._since_body = 0
        if self._listener is not None and not self._ended:
            self._listener.on_body(body)
        elif self._ended:
            self._excess = True

    def on_message_complete(self) -> None:
        parser = self._parser
        if parser is not None and not 100 <= int(parser.get_status_code()) < 200:
            self._ended = True

    # -- inside ----------------------------------------------------------------------------------------

    def _switch(self, listener: Listener, rest: bytes) -> None:
        parser = self._parser
        if parser is None or int(parser.get_status_code()) != 101:
            self._break("the instance switched protocols unasked")
            return
        self._is_raw = True
        listener.on_switched(rest)

    def _end(self, listener: Listener) -> None:
        reusable = self._keep and not self._excess and not self._until_close and self.is_open
        self._listener = None
        self._since_body = 0
        self._is_fresh = self._is_fresh and reusable
        listener.on_end(reusable=reusable, trailers=tuple(self._headers))

    def _break(self, why: str) -> None:
        listener, self._listener = self._listener, None
        if self._transport is not None:
            self._transport.abort()
        if listener is not None:
            listener.on_broken(why)


class UpstreamPool:
    """Kept connections by address, youngest first."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], list[tuple[float, UpstreamConnection]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def connect(self, host: str, port: int, *, fresh: bool) -> UpstreamConnection:
        """A connection ready to write. Raises OSError (TimeoutError included)."""
        address = (host, port)
        if not fresh and (kept := self.take(address)) is not None:
            return kept
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            _, protocol = await loop.create_connection(lambda: UpstreamConnection(self, address), host, port)
        return protocol

    def take(self, address: tuple[str, int]) -> UpstreamConnection | None:
        now = asyncio.get_running_loop().time()
        kept = self._kept.get(address)
        while kept:
            since, connection = kept.pop()
            if connection.is_open and now - since < KEEP_SECONDS:
                return connection
            connection.close()
        return None

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a clean connection for the next request."""
        connection.used = True
        loop = asyncio.get_running_loop()
        kept = self._kept.setdefault(connection.address, [])
        if len(kept) >= KEEP_PER_INSTANCE:
            connection.close()
            return
        connection.set_reading(True)
        kept.append((loop.time(), connection))
        if self._sweeper is None:
            self._sweeper = loop.call_later(KEEP_SECONDS, self._sweep)

    def forget(self, connection: UpstreamConnection) -> None:
        kept = self._kept.get(connection.address)
        if kept:
            kept[:] = [entry for entry in kept if entry[1] is not connection]

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for kept in self._kept.values():
            for _, connection in list(kept):
                connection.close()
        self._kept.clear()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._sweeper = None
        for address, kept in list(self._kept.items()):
            stale = [entry for entry in kept if now - entry[0] >= KEEP_SECONDS]
            kept[:] = [entry for entry in kept if now - entry[0] < KEEP_SECONDS]
            for _, connection in stale:
                connection.close()
            if not kept:
                del self._kept[address]
        if self._kept:
            self._sweeper = loop.call_later(KEEP_SECONDS, self._sweep)

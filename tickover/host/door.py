"""The front door: callers' connections, parsed into exchanges.

Owns: the listening socket and the connections to callers. Promises: heads are bounded and read one way
only, requests of one connection are answered in order, a slow caller slows its instance and nobody else.
Never: buffers an answer, picks an instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools
import structlog

from tickover.host.door_context import DoorContext
from tickover.host.door_exchange import Exchange
from tickover.host.http import (
    MAX_HEAD_BYTES,
    Head,
    HttpError,
    check_head,
    error_response,
    new_request_id,
    origin_form,
    render,
)

log = structlog.get_logger(__name__)

HEAD_SECONDS = 60.0  # a caller that sends nothing, or half a head, for so long is closed
LINGER_SECONDS = 1.0  # after a refusal in the middle of a body: let the caller read it
SWEEP_SECONDS = 5.0
WRITE_HIGH_BYTES = 256 * 1024
PIPELINE_DEPTH = 8


class ClientConnection(asyncio.Protocol):
    """One caller's connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._receiving: Exchange | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._in_head = True
        self._is_tunnel = False
        self._is_closing = False
        self._is_between = True  # no byte of a request has been read that is not over
        self._early = b""
        self.quiet_since: float | None = None  # loop time since when no request is open

    # -- asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.quiet_since = self._door.now()
        self._door.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        if self._is_tunnel:
            self._queue[0].raw(data)
            return
        if self._receiving is not None and self._receiving.head.is_websocket:
            self._early += data  # frames sent before the answer to the handshake
            if len(self._early) > MAX_HEAD_BYTES:
                self.abort()
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and self._receiving is None:
                self._refuse(HttpError(431, "InvalidArgument", "the request head is too large"))
                return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as switch:
                data = data[switch.args[0] :]
                if self._receiving is not None and self._receiving.head.is_websocket:
                    self._early += data
                    return
                self._parser = httptools.HttpRequestParser(self)  # an upgrade nobody offers is left aside
            except httptools.HttpParserError as err:
                self._refuse(HttpError(400, "InvalidArgument", f"the request is not HTTP/1.1: {err}"))
                return

    def eof_received(self) -> bool:
        if self._is_tunnel and self._queue:
            self._queue[0].raw_eof()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._is_closing = True
        self._door.left(self)
        while self._queue:
            self._queue.popleft().caller_gone()

    def pause_writing(self) -> None:
        if self._queue:
            self._queue[0].set_caller_writable(False)

    def resume_writing(self) -> None:
        if self._queue:
            self._queue[0].set_caller_writable(True)

    # -- httptools -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._in_head = True
        self._is_between = False
        self._receiving = None
        self.quiet_since = None if self._queue else self._door.now()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self._headers.append((name.lower(), value or b""))

    def on_headers_complete(self) -> None:
        if self._is_closing:
            return
        self._in_head = False
        self._head_bytes = 0
        head = Head(
            method=self._parser.get_method().decode("latin-1"),
            target=origin_form(self._url.decode("latin-1")),
            headers=tuple(self._headers),
            version=self._parser.get_http_version(),
        )
        exchange = Exchange(self._door.context, self, head, check_head(head))
        self._receiving = exchange
        self._queue.append(exchange)
        self.quiet_since = None
        if len(self._queue) == 1:
            exchange.start()
        elif len(self._queue) > PIPELINE_DEPTH:
            self.set_reading(False)

    def on_body(self, body: bytes) -> None:
        if self._receiving is not None and not self._is_closing:
            self._receiving.body(body)

    def on_message_complete(self) -> None:
        if self._receiving is not None and not self._is_closing:
            receiving = self._receiving
            if not receiving.head.is_websocket:
                self._receiving = None
            receiving.body_end()
        self._is_between = True
        self._in_head = True
        self._head_bytes = 0

    # -- for the exchange at the front -----------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def set_reading(self, reading: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if reading and not transport.is_reading():
            transport.resume_reading()
        elif not reading and transport.is_reading():
            transport.pause_reading()

    def enter_tunnel(self) -> None:
        self._is_tunnel = True
        self._receiving = None
        self.set_reading(True)
        if self._early:
            early, self._early = self._early, b""
            self._queue[0].raw(early)

    def abort(self) -> None:
        """Cut the connection, so that a broken answer is seen as broken."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def exchange_done(self, *, keep_alive: bool) -> None:
        done = self._queue.popleft() if self._queue else None
        if not keep_alive or self._door.is_closing:
            self._finish(linger=done is not None and not done.is_complete)
            return
        if self._receiving is done:
            self._receiving = None  # a handshake that was answered without a switch
            if done is not None and done.head.is_websocket:
                self._parser = httptools.HttpRequestParser(self)
        if self._queue:
            self.set_reading(True)
            self._queue[0].start()
        else:
            self.quiet_since = self._door.now()
            self.set_reading(True)
            self._door.rested(self)
        if self._early and not self._is_tunnel:
            early, self._early = self._early, b""
            self._feed(early)

    def close_if_quiet(self, before: float) -> None:
        """Close when no request has been open since the given loop time."""
        if self.quiet_since is not None and self.quiet_since <= before and self._transport is not None:
            self._transport.close()

    def detach(self) -> int | None:
        """A descriptor of the connection, which is no longer read here; None while a request is open on it.

        What the caller has sent and nobody has read yet stays in it.
        """
        transport = self._transport
        if self._queue or not self._is_between or self._early or self._is_closing or transport is None:
            return None
        sock = transport.get_extra_info("socket")
        if transport.is_closing() or transport.get_write_buffer_size() or sock is None:
            return None
        transport.pause_reading()
        descriptor = os.dup(sock.fileno())
        self.abort()
        return descriptor

    # -- inside ----------------------------------------------------------------------------------------

    def _refuse(self, error: HttpError) -> None:
        """Bytes that are no request: say so once, if nothing else is being answered, and close."""
        if self._queue:
            self.abort()
            return
        response = error_response(error, new_request_id())
        self.write(render(response, keep_alive=False))
        self._finish(linger=True)

    def _finish(self, *, linger: bool) -> None:
        self._is_closing = True
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if linger and transport.can_write_eof():
            self.set_reading(True)
            transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.close)
        else:
            transport.close()


class Door:
    """The listening socket and everybody who came through it."""

    def __init__(self, context: DoorContext) -> None:
        self.context = context
        self.is_closing = False
        self._server: asyncio.Server | None = None
        self._connections: set[ClientConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pass_on: Callable[[int], bool] | None = None
        self._changed = asyncio.Event()  # a connection has ended

    async def open(self, sock: socket.socket) -> None:
        """Accept callers from a bound socket."""
        self._loop = asyncio.get_running_loop()
        await self.accept(sock)
        self._sweep()

    async def accept(self, sock: socket.socket) -> None:
        """Take newcomers, beginning with those whom the kernel has kept waiting; sock is ours from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ClientConnection(self), sock=sock, backlog=1024)

    def pause(self) -> None:
        """Take no newcomers: they wait in the kernel, for whoever accepts from the socket next."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def adopt(self, descriptor: int) -> None:
        """Go on with a caller's connection that another process has detached."""
        sock = socket.socket(fileno=descriptor)
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: ClientConnection(self), sock)
        except OSError as error:
            log.info("a connection was not taken over", error=str(error))
            sock.close()

    def pass_on(self, give: Callable[[int], bool]) -> None:
        """From now on give away each connection as soon as nothing is open on it."""
        self._pass_on = give
        for connection in list(self._connections):
            self.rested(connection)

    def rested(self, connection: ClientConnection) -> None:
        """A connection whose answers are complete."""
        descriptor = connection.detach() if self._pass_on is not None else None
        if descriptor is not None and self._pass_on is not None and not self._pass_on(descriptor):
            os.close(descriptor)  # nobody is there: as any server closes a connection that is not used

    async def finish(self, seconds: float) -> int:
        """Wait for the end of all connections, for so long; how many there are then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._connections:
                    self._changed.clear()
                    await self._changed.wait()
        return len(self._connections)

    async def close(self, grace_seconds: float) -> None:
        """Take nobody new, let open requests finish for a while, then cut."""
        self.is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        now = self.now()
        deadline = now + grace_seconds
        while self._connections and self.now() < deadline:
            for connection in list(self._connections):
                connection.close_if_quiet(self.now())
            if self._connections:
                await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.abort()
        self.context.upstreams.close()
        await asyncio.sleep(0)

    def now(self) -> float:
        return self._loop.time() if self._loop is not None else 0.0

    def joined(self, connection: ClientConnection) -> None:
        self._connections.add(connection)

    def left(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        self._changed.set()

    def _sweep(self) -> None:
        before = self.now() - HEAD_SECONDS
        for connection in list(self._connections):
            connection.close_if_quiet(before)
        if self._loop is not None:
            self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

"""The front door: who may come in, and for how long they may be slow.

Owns: the listening socket and the set of connections to callers. Promises: a connection that is idle or slow
is cut in time; at the end open requests are given their grace. Never: parses a byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable

import structlog

from tickover.host.door_connection import ClientConnection
from tickover.host.door_context import DoorContext
from tickover.host.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS

log = structlog.get_logger(__name__)

HEAD_SECONDS = 60.0  # a caller that sends nothing, or half a head, for so long is closed
SWEEP_SECONDS = 5.0


class Door:
    """The listening socket and everybody who came through it."""

    def __init__(self, context: DoorContext) -> None:
        self.context = context
        self.is_closing = False
        self._server: asyncio.Server | None = None
        self._tls_server: asyncio.Server | None = None
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

    async def accept_tls(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Take newcomers who speak TLS; sock is ours from now on."""
        loop = asyncio.get_running_loop()
        self._tls_server = await loop.create_server(
            lambda: ClientConnection(self, is_tls=True),
            sock=sock,
            backlog=1024,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )

    def pause(self) -> None:
        """Take no newcomers: they wait in the kernel, for whoever accepts from the socket next."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._tls_server is not None:
            self._tls_server.close()
            self._tls_server = None

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
        if self._pass_on is not None and connection.is_tls:
            connection.close_if_quiet(self.now())
            return
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

    async def close(self, grace_seconds: float, why: str = "the host stops") -> None:
        """Take nobody new, let open requests finish for a while, then cut; why is told of those."""
        self.is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.pause()
        now = self.now()
        deadline = now + grace_seconds
        while self._connections and self.now() < deadline:
            for connection in list(self._connections):
                connection.close_if_quiet(self.now())
            if self._connections:
                await asyncio.sleep(0.02)
        self.context.fate.reason = why
        for connection in list(self._connections):
            connection.abort()
        self.context.upstreams.close()
        self.context.deadlines.close()
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
            connection.sweep(before, SWEEP_SECONDS)
        if self._loop is not None:
            self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

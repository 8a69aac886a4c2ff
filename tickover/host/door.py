"""The front door: who may come in, and for how long they may be slow.

Owns: the listening socket and the set of connections to callers. Promises: a connection that is idle or slow
is cut in time; at the end open requests are given their grace. Never: parses a byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

import structlog

from tickover.host.door_connection import ClientConnection
from tickover.host.door_context import DoorContext
from tickover.host.door_h2 import H2Connection
from tickover.host.door_home import Visitor
from tickover.host.tls_gate import Choose, TlsGate

log = structlog.get_logger(__name__)

HEAD_SECONDS = 60.0  # a caller that sends nothing, or half a head, for so long is closed
SWEEP_SECONDS = 5.0


class Door:
    """The listening socket and everybody who came through it."""

    def __init__(self, context: DoorContext) -> None:
        self.context = context
        self.is_closing = False
        self._server: asyncio.Server | None = None
        self._gates: list[TlsGate] = []  # the last one takes callers
        self._connections: set[Visitor] = set()
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

    def accept_tls(self, sock: socket.socket, choose: Choose) -> None:
        """Take newcomers who speak TLS; sock is ours from now on."""
        gate = TlsGate(sock, choose, lambda: ClientConnection(self, is_tls=True))
        self._gates.append(gate)
        gate.open()

    def pause(self) -> None:
        """Take no newcomers: they wait in the kernel, for whoever accepts from the socket next."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for gate in self._gates:
            gate.close()

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

    def rested(self, connection: Visitor) -> None:
        """A connection whose answers are complete."""
        if self._pass_on is None:
            return
        descriptor = connection.detach()
        if descriptor is None:
            connection.retire()
        elif not self._pass_on(descriptor):
            os.close(descriptor)  # nobody is there: as any server closes a connection that is not used

    async def finish(self, seconds: float) -> int:
        """Wait for the end of all connections, for so long; how many there are then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for gate in self._gates:
                    await gate.settled()
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
        for connection in list(self._connections):
            connection.retire()
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
        for gate in self._gates:
            await gate.cut()
        self.context.upstreams.close()
        self.context.deadlines.close()
        self.context.key_sets.close()
        await asyncio.sleep(0)

    def now(self) -> float:
        return self._loop.time() if self._loop is not None else 0.0

    def joined(self, connection: Visitor) -> None:
        self._connections.add(connection)

    def left(self, connection: Visitor) -> None:
        self._connections.discard(connection)
        self._changed.set()

    def take_h2(self, transport: asyncio.Transport, data: bytes, *, is_tls: bool) -> asyncio.Protocol:
        """Go on in HTTP/2 on a connection; data: what the caller has sent on it so far."""
        connection = H2Connection(self, is_tls=is_tls)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if data:
            connection.data_received(data)
        return connection

    def _sweep(self) -> None:
        before = self.now() - HEAD_SECONDS
        for connection in list(self._connections):
            connection.sweep(before, SWEEP_SECONDS)
        if self._loop is not None:
            self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

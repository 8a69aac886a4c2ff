"""Where callers who speak TLS come in: their first message is looked at, then the handshake is made.

Owns: the listening socket for TLS, and who has not finished a handshake. Promises: versions, suites and
certificate are those of the domain that the caller names, for the message is read before any of them is
settled; a caller who takes its time is cut. Never: reads a byte of what the handshake protects.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

import structlog

from tickover.host.client_hello import MAX_HELLO, Hello, HelloError, read_hello

log = structlog.get_logger(__name__)

HANDSHAKE_SECONDS: Final = 10.0
SHUTDOWN_SECONDS: Final = 2.0  # for a caller to answer our goodbye
_AT_ONCE: Final = 64  # callers taken before anything else has its turn
_FULL_SECONDS: Final = 1.0  # before more are taken when no descriptor was left
_UNRECOGNIZED_NAME: Final = bytes((21, 3, 3, 0, 2, 2, 112))  # an alert, which ends the handshake

Choose = Callable[[Hello], ssl.SSLContext | None]


class TlsGate:
    """choose: the context for a caller, None for nobody that it asks for is here. make: its connection."""

    def __init__(self, sock: socket.socket, choose: Choose, make: Callable[[], asyncio.Protocol]) -> None:
        self._sock = sock
        self._choose = choose
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._arriving: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Take callers; the socket is ours from now on."""
        self._sock.setblocking(False)
        self._sock.listen(1024)
        self._listen()

    def close(self) -> None:
        """Take no more callers; those who are here go on."""
        if self._retry is not None:
            self._retry.cancel()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    async def settled(self) -> None:
        """Wait until nobody is in the middle of a handshake."""
        while self._arriving:
            await asyncio.wait(self._arriving)

    async def cut(self) -> None:
        """End the handshakes that are not over."""
        for task in self._arriving:
            task.cancel()
        await asyncio.gather(*self._arriving, return_exceptions=True)

    def _listen(self) -> None:
        self._retry = None
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                caller, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no caller can be accepted for now", error=str(error))
                self._loop.remove_reader(self._sock.fileno())
                self._retry = self._loop.call_later(_FULL_SECONDS, self._listen)
                return
            caller.setblocking(False)
            task = self._loop.create_task(self._greet(caller))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _greet(self, caller: socket.socket) -> None:
        with contextlib.ExitStack() as undo:
            undo.callback(caller.close)
            try:
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    hello = await _hello_of(caller)
                context = self._choose(hello)
                if context is None:
                    caller.recv(MAX_HELLO)  # what is not read would turn the goodbye into a reset
                    caller.send(_UNRECOGNIZED_NAME)
                    return
                undo.pop_all()  # the transport's from now on
                await self._loop.connect_accepted_socket(
                    self._make,
                    caller,
                    ssl=context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                    ssl_shutdown_timeout=SHUTDOWN_SECONDS,
                )
            except (HelloError, OSError) as error:  # the caller's doing, and there are many of them
                log.debug("no handshake", reason=str(error))


async def _hello_of(caller: socket.socket) -> Hello:
    """The first message of a caller, left in its socket for the handshake. Raises HelloError, OSError."""
    seen = 0
    while True:
        await _readable(caller)
        data = caller.recv(MAX_HELLO, socket.MSG_PEEK)
        hello = read_hello(data)
        if hello is not None:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            return hello
        if len(data) <= seen:
            raise HelloError("the caller left in the middle of its ClientHello")
        seen = len(data)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)  # wake for more than that only


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock.fileno(), lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock.fileno())

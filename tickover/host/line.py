"""The control connection between a host and the one that takes over from it.

Owns: the socket in the data folder, and messages with file descriptors over it. Promises: only processes of
the same user are heard, and who they are is known from the kernel; a message arrives whole and in order or
not at all; a descriptor that was sent is closed here, one that was not asked for is closed there. Never:
knows what a message means.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import json
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

NAME: Final = "control.sock"
MESSAGE_BYTES: Final = 64 * 1024
MESSAGE_FILES: Final = 16
_CREDENTIALS: Final = struct.Struct("3i")
_RETRY_SECONDS: Final = 0.01
# The peer's buffer is full, or it has so many descriptors to take that the kernel accepts no more.
_LATER: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS})

Message = dict[str, Any]
Heard = Callable[[Message, list[int]], None]


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end. process: a descriptor of it, which no later process can get."""

    pid: int
    process: int

    def is_gone(self, seconds: float = 0.0) -> bool:
        """Whether it has ended, waiting for that for a while."""
        return bool(select.select([self.process], [], [], seconds)[0])

    def close(self) -> None:
        os.close(self.process)


def peer_of(sock: socket.socket) -> Peer:
    """Who is at the other end. Raises PermissionError (another user's), ProcessLookupError (gone)."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    if uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"process {pid} is of another user (uid {uid})")
    return Peer(pid, os.pidfd_open(pid))


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's path, however long the folder's is: the kernel takes 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def call(folder: Path) -> socket.socket:
    """A connection to the host of a data folder. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _address(folder) as address:
            sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


class Listener:
    """The listening end; `answered` gets each connection of our user."""

    def __init__(self, folder: Path, answered: Callable[[socket.socket, Peer], None]) -> None:
        self._answered = answered
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            (folder / NAME).unlink(missing_ok=True)  # whoever made it does not hold the folder any more
            with _address(folder) as address:
                # Nobody else shall get at it, not even in the moment before its mode could be changed.
                before = os.umask(0o177)
                try:
                    self._sock.bind(address)
                finally:
                    os.umask(before)
            self._sock.listen(16)
        except OSError:
            self._sock.close()
            raise
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError as error:
            log.debug("no control connection after all", error=str(error))
            return
        try:
            peer = peer_of(sock)
        except OSError as error:
            log.warning("a control connection was refused", error=str(error))
            sock.close()
            return
        self._answered(sock, peer)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()


class Line:
    """One end of a connection. ended: called once, when the other end is gone; not after `close`."""

    def __init__(self, sock: socket.socket, heard: Heard, ended: Callable[[], None]) -> None:
        self.heard = heard
        self.ended = ended
        self._sock = sock
        self._sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._out: deque[tuple[bytes, list[int]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.is_open = True
        self._loop.add_reader(self._sock, self._read)

    def send(self, message: Message, files: Sequence[int] = ()) -> None:
        """Send it after those before it. files are ours to close from here on."""
        if not self.is_open:
            close_all(files)
            return
        self._out.append((json.dumps(message).encode(), list(files)))
        if len(self._out) == 1:
            self._write()

    def close(self) -> None:
        """Hang up; what was not sent yet is not."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._sock)
        if self._timer is not None:
            self._timer.cancel()
        while self._out:
            close_all(self._out.popleft()[1])
        self._sock.close()

    def _write(self) -> None:
        self._timer = None
        while self._out and self.is_open:
            data, files = self._out[0]
            try:
                socket.send_fds(self._sock, [data], files, socket.MSG_NOSIGNAL)
            except OSError as error:
                if error.errno in _LATER:
                    self._timer = self._loop.call_later(_RETRY_SECONDS, self._write)
                    return
                self._timer = self._loop.call_later(0, self._lost)  # not from within the sender's own step
                return
            self._out.popleft()
            close_all(files)

    def _read(self) -> None:
        try:
            data, files = _receive(self._sock)
        except BlockingIOError:
            return
        except OSError as error:
            log.info("a control connection broke", error=str(error))
            data, files = b"", []
        if not data:
            close_all(files)
            self._lost()
            return
        try:
            message = json.loads(data)
        except ValueError:
            log.warning("a control connection speaks no JSON", bytes=len(data))
            close_all(files)
            self._lost()
            return
        self.heard(message, files)

    def _lost(self) -> None:
        if self.is_open:
            self.close()
            self.ended()


class LineEnded(Exception):
    """The other end has hung up, or has ended."""


class Talk:
    """A line on which one side asks and waits for the answer, until somebody else hears what comes."""

    def __init__(self, sock: socket.socket) -> None:
        self._inbox: asyncio.Queue[tuple[Message, list[int]] | None] = asyncio.Queue()
        self.line = Line(
            sock,
            lambda message, files: self._inbox.put_nowait((message, files)),
            lambda: self._inbox.put_nowait(None),
        )

    async def hear(self, seconds: float) -> tuple[Message, list[int]]:
        """The next message. Raises LineEnded, TimeoutError."""
        async with asyncio.timeout(seconds):
            found = await self._inbox.get()
        if found is None:
            raise LineEnded
        return found

    def hand_to(self, heard: Heard, ended: Callable[[], None]) -> Line:
        """From now on these hear what comes, beginning with what has come already."""
        self.line.heard, self.line.ended = heard, ended
        while not self._inbox.empty():
            found = self._inbox.get_nowait()
            if found is None:
                ended()
            else:
                heard(*found)
        return self.line

    def close(self) -> None:
        self.line.close()
        while not self._inbox.empty():
            found = self._inbox.get_nowait()
            close_all(found[1] if found else ())


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """A message and its files, which no process that is started later gets: an instance would keep the
    folder's lock and callers' connections open. Python's `socket.recv_fds` drops its flags (3.11).
    """
    found = array.array("i")
    room = socket.CMSG_LEN(MESSAGE_FILES * found.itemsize)
    data, notes, _, _ = sock.recvmsg(MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in notes:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return data, list(found)


def close_all(files: Sequence[int]) -> None:
    for descriptor in files:
        os.close(descriptor)

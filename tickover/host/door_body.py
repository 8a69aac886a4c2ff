"""Request bodies that are held: those that may have to be sent again, and those that wait.

Owns: what is held of a body, in memory up to 1 MB, beyond that in a temporary file without a name. Promises:
the files of all requests together are bounded; what cannot be written to disk is told, never dropped. Never:
parses, sends.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import IO, Final

import structlog

log = structlog.get_logger(__name__)

MEMORY_BYTES: Final = 1024 * 1024
PIECE_BYTES: Final = 256 * 1024
STORE_BYTES: Final = 1024 * 1024 * 1024


class BodyStore:
    """Room on disk for the bodies of all requests. directory: None for the system's temporary folder."""

    def __init__(self, directory: Path | None = None, most_bytes: int = STORE_BYTES) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self.used_bytes = 0

    def take(self, count: int) -> bool:
        """Claim room, if there is so much."""
        if self.used_bytes + count > self._most_bytes:
            return False
        self.used_bytes += count
        return True

    def free(self, count: int) -> None:
        self.used_bytes -= count

    def open(self) -> IO[bytes]:
        """A file that is gone when it is closed. Raises OSError."""
        return tempfile.TemporaryFile(dir=self._directory, buffering=0)


class HeldBody:
    """What has arrived of one body, from its first byte on, until it is let go."""

    __slots__ = ("_ended", "_file", "_has_ended", "_on_disk", "_parts", "_store", "is_whole", "size")

    def __init__(self, store: BodyStore) -> None:
        self._store = store
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._on_disk = 0
        self._has_ended = False
        self._ended: asyncio.Event | None = None  # of who waits for the end
        self.size = 0
        self.is_whole = True  # nothing that arrived is missing

    def add(self, data: bytes) -> bool:
        """Hold a piece, in order. False: it is held in memory for now, but there is no room for more."""
        self.size += len(data)
        if self._file is None and self.size <= MEMORY_BYTES:
            self._parts.append(data)
            return True
        self._parts.append(data)
        return self._spill()

    def end(self) -> None:
        """All of it has arrived."""
        self._has_ended = True
        if self._ended is not None:
            self._ended.set()

    async def until_end(self, seconds: float) -> bool:
        """Wait for the rest of it, but no longer than so; whether it came."""
        if self._has_ended:
            return True
        self._ended = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    def read(self, at: int) -> bytes:
        """What is held from a position on, a piece of it at a time; empty at the end."""
        if self._file is not None and at < self._on_disk:
            return os.pread(self._file.fileno(), min(PIECE_BYTES, self._on_disk - at), at)
        if len(self._parts) == 1 and at == self._on_disk:
            return self._parts[0]
        return b"".join(self._parts)[at - self._on_disk :]

    def whole(self) -> bytes:
        """All of it in memory."""
        pieces: list[bytes] = []
        at = 0
        while piece := self.read(at):
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def let_go(self) -> None:
        """It is needed no more; nothing else is held."""
        self.is_whole = False
        self._parts.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
            self._store.free(self._on_disk)
            self._on_disk = 0

    def _spill(self) -> bool:
        """Move what is in memory to the file."""
        data = b"".join(self._parts)
        if not self._store.take(len(data)):
            return False
        try:
            self._file = self._file or self._store.open()
            _write_at(self._file.fileno(), data, self._on_disk)
        except OSError as err:
            self._store.free(len(data))
            log.warning("a request body could not be written to disk", error=str(err))
            return False
        self._on_disk += len(data)
        self._parts.clear()
        return True


def _write_at(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count

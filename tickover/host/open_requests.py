"""Which requests are open, where a host that is killed leaves it to the next one.

Owns: one file for each host process, in the kernel's memory as much as on disk. Promises: what is open when a
process is killed is found by the next host and told once; a request costs a copy of some bytes. Never: syncs
(a machine that loses its power loses this too), waits, holds a query, a header or a body.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from tickover.host.access import NOT_NOTED, End, Trace

log = structlog.get_logger(__name__)

KILLED: Final = "the host was killed"
_PREFIX: Final = "open-requests."
_SLOTS: Final = 16_384  # more at once are not noted
_WIDTH: Final = 256
_FREE: Final = b"\0"


class OpenRequests:
    """Those of this process. Its file is locked as long as the process lives."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{_PREFIX}{os.getpid()}"
        self._descriptor: int | None = None
        self._map: mmap.mmap | None = None
        self._free: list[int] = []
        self._unused = 0  # slots from here on were never used

    def open(self) -> None:
        """Begin to note. A host that cannot goes on without."""
        try:
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(self._descriptor, 0, _SLOTS * _WIDTH)  # a full disk must not end us later
            self._map = mmap.mmap(self._descriptor, _SLOTS * _WIDTH)
        except OSError as error:
            log.warning("open requests are not noted", path=str(self._path), error=str(error))

    def close(self) -> None:
        """Nothing is open any more."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def begun(self, trace: Trace) -> None:
        """Note it."""
        notes = self._map
        if notes is None or (not self._free and self._unused == _SLOTS):
            return
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._unused = self._unused, self._unused + 1
        told = f"{trace.request_id} {time.time_ns()} {trace.method} {trace.path}"
        data = told.encode("latin-1", "replace")[: _WIDTH - 1] + b"\n"
        at = slot * _WIDTH
        notes[at : at + len(data)] = data
        trace.slot = slot

    def ended(self, trace: Trace) -> None:
        """It is over."""
        slot, trace.slot = trace.slot, NOT_NOTED
        if slot != NOT_NOTED and self._map is not None:
            self._map[slot * _WIDTH : slot * _WIDTH + 1] = _FREE
            self._free.append(slot)


def left_open(folder: Path, now_ns: int) -> list[Trace]:
    """What was open in processes that were killed; told once, to one process. now_ns: wall clock."""
    found: list[Trace] = []
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # that process lives
            found += _read(file.read(), now_ns)
            path.unlink()
    return found


def _read(data: bytes, now_ns: int) -> Iterator[Trace]:
    for at in range(0, len(data), _WIDTH):
        note, is_whole, _ = data[at : at + _WIDTH].partition(b"\n")
        words = note.decode("latin-1").split(" ", 3)
        if not is_whole or note.startswith(_FREE) or len(words) != 4 or not words[1].isdigit():
            continue  # free, or its process was killed while it wrote this
        request_id, began, method, path = words
        lasted_ns = max(0, now_ns - int(began))
        trace = Trace(request_id, method, path, "", 0)
        trace.ended_ns, trace.ended_wall_ns = lasted_ns, now_ns
        trace.end, trace.reason = End.BROKEN, KILLED
        yield trace

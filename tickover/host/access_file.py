"""Where the lines of the access log go: one file beside host.log, rotated.

Owns: access.log and its older files; what is waiting to be written. Promises: a request only appends to a
bounded queue; one task makes the lines, a few at a time, and writes them in batches off the event loop; what
found no room is counted and told in the log itself. Never: decides what is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Final

import structlog

from tickover.host.access import Trace, line, wall

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 0.25
_SLICE: Final = 64  # lines made before others get the event loop


class AccessFile:
    """The writer of one host's access log. max_bytes: of each file; older: how many are kept beside it."""

    def __init__(
        self, path: Path, *, max_pending: int = 8192, max_bytes: int = 32 * 1024 * 1024, older: int = 4
    ) -> None:
        self._path = path
        self._max_pending = max_pending
        self._max_bytes = max_bytes
        self._older = older
        self._pending: deque[Trace] = deque()
        self._untold = 0  # dropped since the last line that told of it
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def put(self, trace: Trace) -> None:
        """To be written soon; dropped and counted where too many are waiting."""
        if len(self._pending) >= self._max_pending:
            self._drop(1)
        else:
            self._pending.append(trace)

    def start(self) -> None:
        """Begin to write what is put."""
        self._task = asyncio.get_running_loop().create_task(self._write_for_ever())

    async def close(self) -> None:
        """Write what is left."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._flush()

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        lines: list[str] = []
        for _ in range(len(self._pending)):
            lines.append(line(self._pending.popleft()))
            if len(lines) % _SLICE == 0:
                await asyncio.sleep(0)
        told, self._untold = self._untold, 0
        if told:
            lines.append(json.dumps({"time": wall(time.time_ns()), "dropped": told}))
        if not lines:
            return
        try:
            await asyncio.to_thread(self.write, "\n".join(lines) + "\n")
        except OSError as error:
            self._untold += told
            self._drop(len(lines) - bool(told))
            if not self._is_failing:
                log.warning("the access log cannot be written", path=str(self._path), error=str(error))
            self._is_failing = True
        else:
            self._is_failing = False

    def write(self, text: str) -> None:
        """Append, after moving a file that is full out of the way. Raises OSError."""
        data = text.encode()
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size + len(data) > self._max_bytes:
                self._rotate()
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(data)

    def _rotate(self) -> None:
        names = [
            self._path,
            *(self._path.with_name(f"{self._path.name}.{n + 1}") for n in range(self._older)),
        ]
        for younger, elder in reversed(list(itertools.pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                younger.replace(elder)

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._untold += count

"""What a program prints, as lines, however much it is.

Owns: the standard streams while a program runs, and whose line is whose. Promises: what the
program's threads print goes to its sink and all else passes; memory stays bounded, as a program that
prints faster than its reader reads waits. Never: decides what becomes of a line.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

from tickover.engine.programchildren import heard_children

LINE_CHARS: Final = 65_536  # a longer line is told in pieces
_BATCH_CHARS: Final = 262_144
_BATCH_LINES: Final = 500
_BATCHES: Final = 4
_LINE_COST: Final = _BATCH_CHARS // _BATCH_LINES
_POLL_SECONDS: Final = 0.2

_SINK: contextvars.ContextVar[LineSink | None] = contextvars.ContextVar("program_lines", default=None)
_SINKS_OF_THREADS: Final[weakref.WeakKeyDictionary[threading.Thread, LineSink]] = weakref.WeakKeyDictionary()


class Gate:
    """Lets a few batches of lines be under way to the reader's loop, and no more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._free = threading.Semaphore(_BATCHES)
        self._pending = 0
        self._is_open = False

    def open(self) -> None:
        """Nobody reads any longer, or nobody may wait: whatever comes passes."""
        self._is_open = True

    def passed(self, size: int) -> None:
        """Called after a line was handed over; waits while too many are unread."""
        self._pending += size + _LINE_COST
        if self._pending < _BATCH_CHARS or self._is_open:
            return
        self._pending = 0
        # Not for ever in one call: a thread that is told to stop hears it between two waits.
        while not self._free.acquire(timeout=_POLL_SECONDS):
            if self._is_open:
                return
        try:
            self._loop.call_soon_threadsafe(self._free.release)  # behind the lines handed over before
        except RuntimeError:  # the loop has ended, and its reader with it
            self.open()


class LineSink:
    """Splits what is printed into lines; any thread may write."""

    def __init__(self, emit: Callable[[str], None], gate: Gate) -> None:
        self._emit, self._gate = emit, gate
        self._rest = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        with self._lock:
            *lines, rest = (self._rest + text).split("\n")
            self._rest = ""
            for line in lines:
                self._tell(line)
            while len(rest) > LINE_CHARS:
                self._tell(rest[:LINE_CHARS])
                rest = rest[LINE_CHARS:]
            self._rest = rest

    def flush(self) -> None:
        """Tell the line that was begun."""
        with self._lock:
            rest, self._rest = self._rest, ""
            if rest:
                self._tell(rest)

    def _tell(self, line: str) -> None:
        for start in range(0, max(len(line), 1), LINE_CHARS):
            piece = line[start : start + LINE_CHARS]
            self._emit(piece)
            self._gate.passed(len(piece))


def _current() -> LineSink | None:
    return _SINK.get() or _SINKS_OF_THREADS.get(threading.current_thread())


class _Stream(io.TextIOBase):
    """A standard stream while a program runs: the program's text goes to its sink, all else passes."""

    def __init__(self, real: TextIO) -> None:
        self._real = real

    def write(self, text: str) -> int:
        sink = _current()
        if sink is None:
            return self._real.write(text)
        sink.write(text)
        return len(text)

    def flush(self) -> None:
        self._real.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._real.isatty()

    def fileno(self) -> int:
        return self._real.fileno()

    @property
    def buffer(self) -> Any:
        return _Bytes(self) if _current() is not None else self._real.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._real.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._real.errors


class _Bytes:
    """``sys.stdout.buffer`` of a program."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        self._stream.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def captured(sink: LineSink) -> Iterator[None]:
    """Within it, this thread, the threads it starts and their children print to sink, and read nothing."""
    real_in, real_out, real_err = sys.stdin, sys.stdout, sys.stderr
    real_start = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        of_starter = _current()
        if of_starter is not None:
            _SINKS_OF_THREADS[thread] = of_starter
        real_start(thread)

    token = _SINK.set(sink)
    try:
        with open(os.devnull, encoding="utf-8") as nothing, heard_children(_is_program, sink.write):
            sys.stdin, sys.stdout, sys.stderr = nothing, _Stream(real_out), _Stream(real_err)
            threading.Thread.start = start  # type: ignore[method-assign,assignment]
            yield
    finally:
        threading.Thread.start = real_start  # type: ignore[method-assign]
        sys.stdin, sys.stdout, sys.stderr = real_in, real_out, real_err
        sink.flush()
        _SINK.reset(token)


def _is_program() -> bool:
    return _current() is not None

"""Steady lines: for pipes, logs and CI.

Owns: when a line is written where nobody watches. Promises: no redraw, no escape code of its own, a sign of
life at least every 30 seconds while something runs. Never: decides what is said (see `narrator`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

from tickover.engine.events import Event
from tickover.views.narrator import Narrator

HEARTBEAT_SECONDS = 20.0


class Plain:
    """Writes the narrator's lines, and a heartbeat when it has been silent."""

    def __init__(
        self, stream: TextIO, narrator: Narrator, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._narrator = narrator
        self._clock = clock
        self._began = clock()
        self._last = clock()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch the silence."""
        self._began = self._last = self._clock()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No heartbeat after this."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def on_event(self, event: Event) -> None:
        with self._lock:
            self._write(self._narrator.lines(event))

    def beat(self) -> None:
        """A sign of life, if the last line is long ago."""
        with self._lock:
            if self._clock() - self._last >= HEARTBEAT_SECONDS:
                self._write(self._narrator.heartbeat(self._clock() - self._began))

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            self.beat()

    def _write(self, lines: list[str]) -> None:
        if lines:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
            self._last = self._clock()

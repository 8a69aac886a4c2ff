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
from tickover.views.terminal import write_lines
from tickover.views.ticker import HEARTBEAT_SECONDS, Elapsed, Ticker


class Plain:
    """Writes the narrator's lines, and a heartbeat when it has been silent."""

    def __init__(
        self, stream: TextIO, narrator: Narrator, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._narrator = narrator
        self._elapsed = Elapsed(clock)
        self._clock = clock
        self._last = clock()
        self._lock = threading.Lock()
        self._ticker = Ticker(self.beat)

    def start(self) -> None:
        """Begin to watch the silence."""
        self._elapsed.begin()
        self._last = self._clock()
        self._ticker.start()

    def stop(self) -> None:
        """No heartbeat after this."""
        self._ticker.stop()

    def on_event(self, event: Event) -> None:
        with self._lock:
            self._elapsed.saw(event.at_seconds)
            self._write(self._narrator.lines(event))

    def beat(self) -> None:
        """A sign of life, if the last line is long ago."""
        with self._lock:
            if self._clock() - self._last >= HEARTBEAT_SECONDS:
                self._write(self._narrator.heartbeat(self._elapsed.now()))

    def _write(self, lines: list[str]) -> None:
        if lines:
            write_lines(self._stream, lines)
            self._last = self._clock()

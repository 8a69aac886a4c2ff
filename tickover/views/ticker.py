"""The edge where views meet time: how far an operation is, and a call every second.

Owns: the clock of a view, the thread that ticks. Promises: a view's own logic never sleeps or reads a
clock. Never: decides what a tick means.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

TICK_SECONDS = 1.0
HEARTBEAT_SECONDS = 20.0  # well below the half minute after which people and CI wonder


class Elapsed:
    """Seconds since the operation began, as the engine counts them in its events."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._least = clock()
        self._began: float | None = None

    def begin(self) -> None:
        """The view starts; the operation does so now or a little later."""
        self._least, self._began = self._clock(), None

    def saw(self, at_seconds: float) -> None:
        """An event said how far the operation is."""
        began = max(self._least, self._clock() - at_seconds)
        self._began = began if self._began is None else min(self._began, began)

    def now(self) -> float:
        """How far the operation is."""
        return self._clock() - (self._least if self._began is None else self._began)


class Ticker:
    """Calls beat every second from a thread of its own."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No call after this."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            self._beat()

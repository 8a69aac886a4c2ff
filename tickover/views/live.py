"""A person watches: a tree of what is done, redrawn with durations, and lines that stay above it.

Owns: the redrawn region. Promises: it is gone while the plan is read and a question is asked; it fits the
screen; at the end the whole tree stays; the cursor comes back whatever happens. Never: decides what is said
(see `narrator`) or drawn (see `progress`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live as RichLive
from rich.text import Text

from tickover.engine.events import Event, OperationFinished, PhaseStarted, PlanReady, StepStarted
from tickover.views.narrator import Narrator
from tickover.views.progress import Progress
from tickover.views.terminal import plural, seconds_text, writable
from tickover.views.ticker import Elapsed

_REFRESHES_PER_SECOND = 8
_LEAST_REST = 20.0  # times as long as a drawing took: the engine works in the same process
_SPARE_ROWS = 3  # for the prompt and the line that scrolls


class Live:
    """The narrator's lines above, the tree below."""

    def __init__(
        self, stream: TextIO, narrator: Narrator, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._narrator = narrator
        narrator.tells_steps = False
        look = narrator.look
        self._console = Console(
            file=stream, width=look.width, no_color=not look.color, highlight=False, soft_wrap=True
        )
        self._stream = stream
        self._progress = Progress()
        self._elapsed = Elapsed(clock)
        self._clock = clock
        self._drawn: list[str] = []
        self._drawn_at, self._draw_seconds = clock(), 0.0
        self._live: RichLive | None = None
        self._lock = threading.RLock()

    def start(self) -> None:
        """Durations count from here."""
        self._elapsed.begin()

    def stop(self) -> None:
        """Take the region away."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None
                self._draw_seconds = 0.0  # what is shown next is another thing: drawn at once

    def on_event(self, event: Event) -> None:
        with self._lock:
            self._elapsed.saw(event.at_seconds)
            self._progress.on_event(event)
            lines = self._narrator.lines(event)
            if isinstance(event, PlanReady | OperationFinished):
                self.stop()
            if isinstance(event, OperationFinished) and not self._progress.is_empty:
                lines = [*self._progress.lines(self._narrator.look, event.at_seconds), *lines]
            if isinstance(event, PhaseStarted | StepStarted):
                self._show()
            for line in lines:
                self._console.print(Text.from_ansi(writable(line, self._stream)), soft_wrap=True)

    def _show(self) -> None:
        if self._live is None:
            self._live = RichLive(
                self,
                console=self._console,
                refresh_per_second=_REFRESHES_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # From rich's own thread, and without our lock: rich holds one of its own that on_event waits for.
        for line in self._current(max(4, console.size.height - _SPARE_ROWS)):
            text = Text.from_ansi(writable(line, self._stream))
            text.truncate(options.max_width, overflow="ellipsis" if self._narrator.look.unicode else "crop")
            yield text

    def _current(self, most_rows: int) -> list[str]:
        """The region of now; a little older while drawing it would take more than a twentieth of the time."""
        began = self._clock()
        if began - self._drawn_at >= _LEAST_REST * self._draw_seconds:
            self._drawn = self.drawn(self._elapsed.now(), most_rows)
            self._drawn_at = self._clock()
            self._draw_seconds = self._drawn_at - began
        return self._drawn

    def drawn(self, now_seconds: float, most_rows: int) -> list[str]:
        """The region at a time."""
        narrator = self._narrator
        if not self._progress.is_empty:
            return self._progress.lines(narrator.look, now_seconds, most_rows)
        if not narrator.phase:
            return []
        found = f", {plural(narrator.planned, 'resource')} so far" if narrator.planned else ""
        took = seconds_text(max(0.0, now_seconds - narrator.phase_since))
        return [narrator.look.paint(f"   {narrator.phase} ({took}){found}", "dim")]

"""A person watches: finished steps stay as lines, what runs is redrawn below them with its duration.

Owns: the redrawn region. Promises: it is gone while the plan is read and a question is asked; the cursor
comes back whatever happens. Never: decides what is said (see `narrator`).
"""

from __future__ import annotations

import threading
import time
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live as RichLive
from rich.text import Text

from tickover.engine.events import Event, OperationFinished, PhaseStarted, PlanReady, StepStarted
from tickover.views.narrator import Narrator
from tickover.views.terminal import seconds_text
from tickover.views.words import WORDS

_MOST_ROWS = 12
_REFRESHES_PER_SECOND = 8


class Live:
    """The narrator's lines above, the running steps below."""

    def __init__(self, stream: TextIO, narrator: Narrator) -> None:
        self._narrator = narrator
        look = narrator.look
        self._console = Console(
            file=stream, width=look.width, no_color=not look.color, highlight=False, soft_wrap=True
        )
        self._began = time.monotonic()
        self._live: RichLive | None = None
        self._lock = threading.RLock()

    def start(self) -> None:
        """Durations count from here."""
        self._began = time.monotonic()

    def stop(self) -> None:
        """Take the region away."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def on_event(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, PlanReady | OperationFinished):
                self.stop()
            lines = self._narrator.lines(event)
            if isinstance(event, PhaseStarted | StepStarted):
                self._show()
            for line in lines:
                self._console.print(Text.from_ansi(line), soft_wrap=True)

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
        now = time.monotonic() - self._began
        running = self._narrator.running
        for one in running[:_MOST_ROWS]:
            word = WORDS[one.step.op]
            text = Text(f"{word.symbol:>2} {word.doing} ", style=word.style)
            text.append(
                f"{one.step.type} {one.step.name} ({seconds_text(now - one.since_seconds)})", "default"
            )
            if one.progress:
                text.append(f"  {one.progress.splitlines()[0]}", "dim")
            text.truncate(options.max_width, overflow="ellipsis")
            yield text
        if len(running) > _MOST_ROWS:
            yield Text(f"   and {len(running) - _MOST_ROWS} more", style="dim")
        if not running and self._narrator.phase:
            took = seconds_text(now - self._narrator.phase_since)
            yield Text(f"   {self._narrator.phase} ({took})", style="dim")

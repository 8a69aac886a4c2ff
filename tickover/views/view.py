"""The views as one role, and the choice among them.

Owns: `View`, several views at once, which view a terminal gets. Promises: every view sees every event in
order. Never: formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TextIO

from tickover.engine.events import Event
from tickover.views.narrator import Narrator
from tickover.views.plain import Plain


class View(Protocol):
    """Consumes the events of one operation."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def on_event(self, event: Event) -> None: ...


class Views:
    """Several views at once; a context manager around the operation."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = tuple(views)

    def __enter__(self) -> Views:
        for view in self._views:
            view.start()
        return self

    def __exit__(self, *_: object) -> None:
        for view in self._views:
            view.stop()

    def on_event(self, event: Event) -> None:
        for view in self._views:
            view.on_event(event)


def for_people(stream: TextIO, narrator: Narrator) -> View:
    """The live view where a person watches, else steady lines."""
    if narrator.look.is_live:
        from tickover.views.live import Live

        return Live(stream, narrator)
    return Plain(stream, narrator)

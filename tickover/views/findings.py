"""What a command needs to know of a run after it: its findings, and what was under way.

Owns: the warnings and errors of a run, the steps begun and not ended. Promises: nothing is written. Never:
decides what they mean.
"""

from __future__ import annotations

from typing import Any

from tickover.engine.events import Diagnostic, Event, StepFailed, StepFinished, StepStarted
from tickover.engine.plan import Step
from tickover.engine.provider import Severity


class Findings:
    """A view that only remembers."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._running: dict[str, Step] = {}

    @property
    def under_way(self) -> tuple[Step, ...]:
        """Steps that began and did not end, the oldest first."""
        return tuple(self._running.values())

    def on_event(self, event: Event) -> None:
        match event:
            case Diagnostic(ephemeral=False, severity=Severity.WARNING | Severity.ERROR):
                said = {"severity": event.severity.value, "message": event.message, "urn": event.urn}
                self.found.append(said)
            case StepStarted():
                self._running[event.step.urn] = event.step
            case StepFinished() | StepFailed():
                self._running.pop(event.step.urn, None)

    def start(self) -> None:
        """Nothing to prepare."""

    def stop(self) -> None:
        """Nothing to give back."""

"""Events as one JSON object a line.

Owns: the names of the event types and their fields. Promises: every line is a JSON object with ``type`` and
``at_seconds``; the first says the format's version; secrets masked; flushed line by line. Never: text for
people.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from tickover.engine.events import (
    Diagnostic,
    Event,
    OperationFinished,
    PhaseStarted,
    PlanReady,
    PolicyReported,
    ProgramOutput,
    StepFailed,
    StepFinished,
    StepPlanned,
    StepStarted,
)
from tickover.engine.plan import Plan, Step
from tickover.engine.provider import Severity
from tickover.views.plan_document import FORMAT_VERSION, Cost, document, policy_json, values_json
from tickover.views.ticker import HEARTBEAT_SECONDS, Elapsed, Ticker
from tickover.views.words import is_skipped, position_text


def version_line(operation: str, stack: str, version: str) -> dict[str, Any]:
    """The first object of a stream."""
    return {
        "type": "version",
        "at_seconds": 0.0,
        "format_version": FORMAT_VERSION,
        "tickover": version,
        "operation": operation,
        "stack": stack,
    }


def event_objects(
    event: Event, cost_of: Callable[[Plan], Cost | None], errored: bool = False
) -> list[dict[str, Any]]:
    """The objects of one event. errored: something went wrong before."""
    said: list[dict[str, Any]]
    match event:
        case PhaseStarted():
            said = [{"type": "phase", "phase": event.phase}]
        case Diagnostic(ephemeral=True):
            said = [{"type": "apply_progress", "urn": event.urn, "message": event.message}]
        case Diagnostic():
            severity, position = event.severity.value, getattr(event, "source_position", "")
            said = [{"type": "diagnostic", "severity": severity, "message": event.message, "urn": event.urn}]
            said[0]["source_position"] = position_text(position)
        case ProgramOutput():
            said = [{"type": "log", "line": event.line}]
        case StepPlanned():
            said = [{"type": "planned_change", **_step(event.step), "reasons": list(event.step.reasons)}]
        case PlanReady():
            said = _plan(event.plan, cost_of(event.plan), errored)
        case StepStarted():
            said = [{"type": "apply_start", **_step(event.step)}]
        case StepFinished():
            said = [
                {"type": "apply_complete", **_step(event.step), "duration_seconds": event.duration_seconds}
            ]
        case StepFailed():
            said = [
                {
                    "type": "apply_errored",
                    **_step(event.step),
                    "duration_seconds": event.duration_seconds,
                    "message": event.message,
                    "source_position": position_text(event.step.source_position),
                }
            ]
        case PolicyReported():
            said = [{"type": "policy", **policy_json(event.violation)}]
        case OperationFinished():
            said = [
                {"type": "outputs", "outputs": values_json(event.outputs)},
                {
                    "type": "change_summary",
                    "operation": event.operation,
                    "result": event.result,
                    "counts": dict(sorted(event.counts.items())),
                },
            ]
    return [{"at_seconds": round(event.at_seconds, 6), **one} for one in said]


def _step(step: Step) -> dict[str, Any]:
    return {
        "urn": step.urn,
        "resource_type": step.type,
        "name": step.name,
        "parent": step.parent,
        "custom": step.custom,
        "op": step.op.value,
        "skipped": is_skipped(step),
    }


def _plan(plan: Plan, cost: Cost | None, errored: bool) -> list[dict[str, Any]]:
    errored |= any(violation.level == "mandatory" for violation in plan.violations)
    said: list[dict[str, Any]] = [{"type": "plan", "plan": document(plan, cost, errored=errored)}]
    if cost is not None:
        said.append({"type": "cost", "cost": cost.as_json()})
    return said


class JsonLines:
    """Writes the objects of every event to a stream, and a sign of life of what runs long."""

    def __init__(
        self,
        stream: TextIO,
        cost_of: Callable[[Plan], Cost | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._cost_of = cost_of
        self._clock = clock
        self._elapsed = Elapsed(clock)
        self._last = clock()
        self._running: dict[str, tuple[Step, float]] = {}
        self._errored = False
        self._lock = threading.Lock()
        self._ticker = Ticker(self.beat)

    def is_for(self, stream: TextIO) -> bool:
        """True if the lines go to stream."""
        return self._stream is stream

    def write(self, value: dict[str, Any]) -> None:
        """One line."""
        text = json.dumps(value, ensure_ascii=False, default=str)
        self._stream.write(text.encode("utf-8", "replace").decode("utf-8") + "\n")
        self._stream.flush()
        self._last = self._clock()

    def on_event(self, event: Event) -> None:
        with self._lock:
            self._elapsed.saw(event.at_seconds)
            match event:
                case Diagnostic(severity=Severity.ERROR):
                    self._errored = True
                case StepStarted():
                    self._running[event.step.urn] = (event.step, event.at_seconds)
                case StepFinished() | StepFailed():
                    self._running.pop(event.step.urn, None)
                case OperationFinished():
                    self._running.clear()
            for value in event_objects(event, self._cost_of, self._errored):
                self.write(value)

    def beat(self) -> None:
        """What runs, if the last line is long ago."""
        with self._lock:
            if self._clock() - self._last < HEARTBEAT_SECONDS:
                return
            now = self._elapsed.now()
            for step, since in list(self._running.values()):
                running = round(max(0.0, now - since), 6)
                said = {"type": "apply_progress", "at_seconds": round(now, 6), "urn": step.urn}
                self.write({**said, "message": "", "running_seconds": running})

    def start(self) -> None:
        """Begin to watch the silence."""
        self._elapsed.begin()
        self._ticker.start()

    def stop(self) -> None:
        """No line after this but what is asked for."""
        self._ticker.stop()

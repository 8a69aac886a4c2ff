"""What the engine says while it works: a typed stream that every view consumes.

Owns: the event values. Promises: nothing else of the engine writes to a terminal. Never: formats.
Times are seconds (float) since the operation began, named ``at_seconds``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tickover.engine.plan import Plan, PolicyViolation, Step
from tickover.engine.provider import Severity


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """phase: ``reading state``, ``refreshing``, ``planning``, ``applying``, ``deleting``, ``saving``."""

    at_seconds: float
    phase: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A line said by the program, a provider or the engine. ephemeral: progress, may be overwritten."""

    at_seconds: float
    severity: Severity
    message: str
    urn: str = ""
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """A line that the user's program printed."""

    at_seconds: float
    line: str


@dataclass(frozen=True, slots=True)
class StepPlanned:
    at_seconds: float
    step: Step


@dataclass(frozen=True, slots=True)
class PlanReady:
    at_seconds: float
    plan: Plan


@dataclass(frozen=True, slots=True)
class StepStarted:
    at_seconds: float
    step: Step


@dataclass(frozen=True, slots=True)
class StepFinished:
    at_seconds: float
    step: Step
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class StepFailed:
    at_seconds: float
    step: Step
    duration_seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class PolicyReported:
    at_seconds: float
    violation: PolicyViolation


@dataclass(frozen=True, slots=True)
class OperationFinished:
    """operation: preview | up | destroy | refresh. result: succeeded | failed | cancelled."""

    at_seconds: float
    operation: str
    result: str
    counts: Mapping[str, int]
    outputs: Mapping[str, object] = field(default_factory=dict)


Event = (
    PhaseStarted
    | Diagnostic
    | ProgramOutput
    | StepPlanned
    | PlanReady
    | StepStarted
    | StepFinished
    | StepFailed
    | PolicyReported
    | OperationFinished
)
EventSink = Callable[[Event], None]

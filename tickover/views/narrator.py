"""What a run says, line by line: the text that the plain and the live view share.

Owns: the lines of every event, and what is running now. Promises: pure (time comes in); nothing said
twice. Never: writes, reads a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
from tickover.engine.plan import Op, Plan, PolicyViolation, Step
from tickover.engine.provider import Severity
from tickover.engine.urn import parse_urn
from tickover.engine.values import mask
from tickover.errors import TickoverError
from tickover.views import details, summary, tree
from tickover.views.terminal import Look, clean, seconds_text
from tickover.views.words import WORDS, is_quiet

CostLines = Callable[[Plan, Look], list[str]]

# A replacement is done when its new half is; its old half may come much later.
_COUNTED_AS = {Op.CREATE_REPLACEMENT: Op.REPLACE}
_UNCOUNTED = frozenset({Op.SAME.value, Op.DELETE_REPLACED.value})
_SEVERITY = {Severity.WARNING: ("warning: ", "yellow"), Severity.ERROR: ("error: ", "red")}


@dataclass(frozen=True, slots=True)
class Running:
    """A step under way. progress: what its provider said last."""

    step: Step
    since_seconds: float
    progress: str = ""


def no_cost(plan: Plan, look: Look) -> list[str]:
    """The cost lines of a program that has nothing to price."""
    return []


class Narrator:
    """Turns events into lines and remembers what is under way."""

    def __init__(
        self,
        look: Look,
        cost_lines: CostLines = no_cost,
        *,
        operation: str = "up",
        with_details: bool = False,
    ) -> None:
        self.look = look
        self._operation = operation
        self.phase = ""
        self.phase_since = 0.0
        self._cost_lines = cost_lines
        self._with_details = with_details
        self._running: dict[str, Running] = {}
        self._told: set[str] = set()
        self._failed_urns: set[str] = set()
        self._done: Counter[str] = Counter()
        self._is_broken = False
        self._is_policed = False
        self._policies: set[PolicyViolation] = set()

    @property
    def running(self) -> tuple[Running, ...]:
        """The steps under way, the oldest first."""
        return tuple(self._running.values())

    def lines(self, event: Event) -> list[str]:
        """What to say for good about an event."""
        match event:
            case PhaseStarted():
                self.phase, self.phase_since = event.phase, event.at_seconds
                self._is_policed |= "polic" in event.phase
                return []
            case Diagnostic():
                return self._diagnostic(event)
            case ProgramOutput():
                return [self.look.paint("program: ", "dim") + clean(event.line)]
            case StepPlanned():
                return []
            case PlanReady():
                self.phase = ""
                return self._plan(event.plan)
            case StepStarted():
                self._running[event.step.urn] = Running(event.step, event.at_seconds)
                return []
            case StepFinished():
                self._running.pop(event.step.urn, None)
                return self._finished(event)
            case StepFailed():
                self._running.pop(event.step.urn, None)
                return self._failed(event)
            case PolicyReported():
                return self._policy(event.violation)
            case OperationFinished():
                self._running.clear()
                self.phase = ""
                return self._end(event)

    def heartbeat(self, at_seconds: float) -> list[str]:
        """What is still going on, for an output that would else be silent."""
        lines = []
        for one in self._running.values():
            word = WORDS[one.step.op]
            line = f"{word.symbol:>2} still {word.doing} {_called(one.step)} "
            line += f"({seconds_text(at_seconds - one.since_seconds)})"
            lines.append(line + (f": {one.progress}" if one.progress else ""))
        if not lines and self.phase:
            lines.append(f"   still {self.phase} ({seconds_text(at_seconds - self.phase_since)})")
        return lines

    # --- one event each ------------------------------------------------------------------------------

    def _diagnostic(self, event: Diagnostic) -> list[str]:
        text = clean(event.message).rstrip()
        if event.ephemeral or event.severity is Severity.DEBUG:
            if event.urn in self._running:
                running = self._running[event.urn]
                self._running[event.urn] = Running(running.step, running.since_seconds, text)
            return []
        self._is_broken |= event.severity is Severity.ERROR
        if text in self._told or (event.urn and event.urn in self._failed_urns):
            return []
        self._told.add(text)
        prefix, style = _SEVERITY.get(event.severity, ("", ""))
        first, *rest = text.splitlines() or [""]
        name = _name_of(event.urn)
        where = f" [{name}]" if name and name not in first else ""
        return [self.look.paint(prefix, style) + first + where, *rest]

    def _plan(self, plan: Plan) -> list[str]:
        if self._is_broken:
            return ["", "The plan could not be completed. Nothing was changed."]
        lines = tree.render(plan, self.look)
        if lines and self._with_details:
            lines += ["", *details.render(plan, self.look)]
        for warning in (w for w in plan.warnings if clean(w).rstrip() not in self._told):
            lines += ["", self.look.paint("warning: ", "yellow") + clean(warning)]
        told = [line for violation in plan.violations for line in self._policy(violation)]
        if self._is_policed and not plan.violations:
            told = ["Policies: nothing to object to."]
        lines += ["", *told] if told else []
        if cost := self._cost_lines(plan, self.look):
            lines += ["", *cost] if lines else cost
        if lines:
            lines.append("")
        return lines + summary.render(plan, self.look, self._operation)

    def _policy(self, violation: PolicyViolation) -> list[str]:
        if violation in self._policies:
            return []
        self._policies.add(violation)
        style = "red" if violation.level == "mandatory" else "yellow"
        where = f" ({parse_urn(violation.urn).type}: {_name_of(violation.urn)})" if violation.urn else ""
        head = self.look.paint(f"[{violation.level}]", style) + f" {violation.pack}/{violation.policy}{where}"
        return [head, *(f"    {line}" for line in clean(violation.message).splitlines())]

    def _finished(self, event: StepFinished) -> list[str]:
        step = event.step
        self._done[_COUNTED_AS.get(step.op, step.op).value] += 1
        if is_quiet(step) or step.op is Op.REPLACE:
            return []  # a replacement is told by its halves
        word = WORDS[step.op]
        head = self.look.paint(f"{word.symbol:>2} {word.done}", word.style)
        return [f"{head} {_called(step)} ({seconds_text(event.duration_seconds)})"]

    def _failed(self, event: StepFailed) -> list[str]:
        text = clean(event.message).rstrip()
        self._failed_urns.add(event.step.urn)
        word = WORDS[event.step.op]
        head = self.look.paint("error: ", "red")
        head += f"{word.doing} {_called(event.step)} failed ({seconds_text(event.duration_seconds)})"
        return [head, *(f"    {line}" for line in text.splitlines())]

    def _end(self, event: OperationFinished) -> list[str]:
        if self._operation in ("preview", "drift"):
            return []
        lines: list[str] = []
        if event.outputs and event.result == "succeeded" and event.operation == "up":
            lines += ["", self.look.paint("Outputs", "bold"), *output_lines(event.outputs, "    ")]
        past = {"succeeded": "done", "failed": "failed", "cancelled": "cancelled"}[event.result]
        style = "green" if event.result == "succeeded" else "red"
        done = {op: n for op, n in self._done.items() if op not in _UNCOUNTED}
        if event.result == "succeeded":
            done["same"] = event.counts.get("same", 0)
        counts = summary.counts_line(done, self.look, done=True)
        took = f"{event.operation} {past} in {seconds_text(event.at_seconds)}"
        lines += ["", self.look.paint(took, style) + (f": {counts}" if counts else "")]
        return lines


def output_lines(values: Mapping[str, Any], indent: str) -> list[str]:
    """Outputs, nested by indent, secrets masked, sorted."""
    lines = []
    for key, raw in sorted(values.items()):
        value = mask(raw)
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", *output_lines(value, indent + "    ")]
        else:
            lines.append(f"{indent}{key}: {clean(value) if isinstance(value, str) else value}")
    return lines


def _called(step: Step) -> str:
    return f"{step.type} {step.name}"


def _name_of(urn: str) -> str:
    try:
        return parse_urn(urn).name if urn else ""
    except TickoverError:
        return urn

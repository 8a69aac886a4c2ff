"""What a run says, line by line: the text that the plain and the live view share.

Owns: the lines of every event, and what is running now. Promises: pure (time comes in); nothing said
twice, a cause that hits many resources told once. Never: writes, reads a clock.
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
from tickover.engine.urn import is_default_provider, parse_urn
from tickover.engine.values import reveal
from tickover.errors import TickoverError
from tickover.views import details, policies, summary, tree
from tickover.views.terminal import Look, clean, plural, seconds_text
from tickover.views.values import masked, shown
from tickover.views.words import COUNTED_AS, WORDS, is_quiet, position_text

CostLines = Callable[[Plan, Look], list[str]]

_UNCOUNTED = frozenset({Op.SAME.value, Op.DELETE_REPLACED.value, Op.DISCARD_REPLACED.value})
_MOST_BEATS = 10
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
        show_secrets: bool = False,
        is_policed: bool = False,
    ) -> None:
        """operation: preview | up | destroy | refresh | drift | import. with_details: ``--diff``.

        is_policed: policies look at the plan, so that their silence is worth a line.
        """
        self.look = look
        self.tells_steps = True  # False where a tree tells them
        self.planned = 0
        self._operation = operation
        self._show_secrets = show_secrets
        self.phase = ""
        self.phase_since = 0.0
        self._cost_lines = cost_lines
        self._with_details = with_details
        self._running: dict[str, Running] = {}
        self._told: set[str] = set()
        self._failed: dict[str, dict[str, Step]] = {}  # message → resources, by URN
        self._positions: dict[str, str] = {}
        self._done: Counter[str] = Counter()
        self._is_broken = False
        self._is_policed = is_policed
        self._is_planning = True
        self._policies: dict[PolicyViolation, None] = {}  # heard
        self._policies_told: set[PolicyViolation] = set()

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
                self.planned += 1
                self._remember(event.step)
                return []
            case PlanReady():
                self.phase = ""
                for step in event.plan.steps:
                    self._remember(step)
                return self._plan(event.plan)
            case StepStarted():
                self._remember(event.step)
                self._running[event.step.urn] = Running(event.step, event.at_seconds)
                return []
            case StepFinished():
                self._running.pop(event.step.urn, None)
                return self._finished(event)
            case StepFailed():
                self._remember(event.step)
                self._running.pop(event.step.urn, None)
                return self._failed_step(event)
            case PolicyReported():
                self._policies[event.violation] = None
                return [] if self._is_planning else self._policy(event.violation)
            case OperationFinished():
                self._running.clear()
                self.phase = ""
                return self._end(event)

    def heartbeat(self, at_seconds: float) -> list[str]:
        """What is still going on, for an output that would else be silent."""
        lines = []
        for one in self.running[:_MOST_BEATS]:
            word = WORDS[one.step.op]
            line = f"{word.symbol:>2} still {word.doing} {_called(one.step)} "
            line += f"({seconds_text(at_seconds - one.since_seconds)})"
            lines.append(line + (f": {one.progress}" if one.progress else ""))
        if (more := len(self._running) - _MOST_BEATS) > 0:
            lines.append(f"   and {more} more")
        if not lines and self.phase:
            lines.append(f"   still {self.phase} ({seconds_text(at_seconds - self.phase_since)})")
        return lines

    def _remember(self, step: Step) -> None:
        if step.source_position:
            self._positions[step.urn] = position_text(step.source_position)

    def _where(self, urn: str) -> list[str]:
        position = self._positions.get(urn, "")
        return [self.look.paint(f"    at {position}", "dim")] if position else []

    # --- one event each ------------------------------------------------------------------------------

    def _diagnostic(self, event: Diagnostic) -> list[str]:
        text = clean(event.message).rstrip()
        if event.ephemeral or event.severity is Severity.DEBUG:
            if event.urn in self._running:
                running = self._running[event.urn]
                self._running[event.urn] = Running(running.step, running.since_seconds, text)
            return []
        self._is_broken |= event.severity is Severity.ERROR
        if text in self._told or self._has_failed(event.urn):
            return []
        self._told.add(text)
        prefix, style = _SEVERITY.get(event.severity, ("", ""))
        first, *rest = text.splitlines() or [""]
        name = _name_of(event.urn)
        where = f" [{name}]" if name and name not in first else ""
        lines = [self.look.paint(prefix, style) + first + where, *rest]
        return lines + (self._where(event.urn) if event.severity is Severity.ERROR else [])

    def _has_failed(self, urn: str) -> bool:
        return bool(urn) and any(urn in steps for steps in self._failed.values())

    def _plan(self, plan: Plan) -> list[str]:
        self._is_planning = False
        found = dict.fromkeys((*self._policies, *plan.violations))
        told = policies.render(found, self.look)
        self._policies_told.update(found)
        if self._is_broken:
            return [*told, "", "The plan could not be completed. Nothing was changed."]
        lines = tree.render(plan, self.look)
        if lines and self._with_details:
            lines += ["", *details.render(plan, self.look, show_secrets=self._show_secrets)]
        elif changed := details.output_changes(plan, self.look, show_secrets=self._show_secrets):
            lines += ["", *changed]
        for warning in (w for w in plan.warnings if clean(w).rstrip() not in self._told):
            lines += ["", self.look.paint("warning: ", "yellow") + clean(warning)]
        if self._is_policed and not found:
            told = ["Policies: nothing to object to."]
        lines += ["", *told] if told else []
        if cost := self._cost_lines(plan, self.look):
            lines += ["", *cost] if lines else cost
        if lines:
            lines.append("")
        lines += summary.render(plan, self.look, self._operation)
        refusing = sorted({f"{v.pack}/{v.policy}" for v in found if v.level == "mandatory"})
        if refusing:
            lines.append(self.look.paint(f"Refused by policy: {', '.join(refusing)}.", "red"))
        return lines

    def _policy(self, violation: PolicyViolation) -> list[str]:
        if violation in self._policies_told:
            return []
        self._policies_told.add(violation)
        return policies.one(violation, self.look)

    def _finished(self, event: StepFinished) -> list[str]:
        step = event.step
        if not is_default_provider(step.urn):
            self._done[COUNTED_AS.get(step.op, step.op).value] += 1
        if is_quiet(step) or step.op is Op.REPLACE or not self.tells_steps:
            return []  # a replacement is told by its halves
        word = WORDS[step.op]
        head = self.look.paint(f"{word.symbol:>2} {word.done}", word.style)
        return [f"{head} {_called(step)} ({seconds_text(event.duration_seconds)})"]

    def _failed_step(self, event: StepFailed) -> list[str]:
        step = event.step
        told = clean(event.message).rstrip()
        # The head names the resource; without its URN, the same cause reads the same for all that it hits.
        text = told.replace(f" [{step.urn}]", "")
        word = WORDS[step.op]
        head = self.look.paint("error: ", "red")
        head += f"{word.doing} {_called(step)} failed ({seconds_text(event.duration_seconds)})"
        same = self._failed.setdefault(text, {})
        first = next(iter(same.values()), None)
        same[step.urn] = step
        if first is not None and first.urn != step.urn:
            said = [f"as {word.doing} {_called(first)} did"]
        else:
            said = ["as said above"] if told in self._told else text.splitlines()
        return [head, *(f"    {line}" for line in said), *self._where(step.urn)]

    def _causes(self) -> list[str]:
        """What failed, each cause once with what it hit; nothing where one failure was told just now."""
        failed = sum(map(len, self._failed.values()))
        if failed < 2:
            return []
        lines = ["", self.look.paint(f"{plural(failed, 'resource')} failed:", "red")]
        for text, steps in self._failed.items():
            lines.append("    " + (": ".join(text.splitlines()[:2]) or "without a reason"))
            names = [_called(step) for step in steps.values()]
            more = len(names) - _MOST_BEATS
            lines += [f"        {name}" for name in names[:_MOST_BEATS]]
            lines += [f"        and {more} more"] if more > 0 else []
        return lines

    def _end(self, event: OperationFinished) -> list[str]:
        lines = policies.render((v for v in self._policies if v not in self._policies_told), self.look)
        if self._operation in ("preview", "drift"):
            return lines
        lines += self._causes()
        if event.outputs and event.result == "succeeded" and event.operation == "up":
            lines += ["", self.look.paint("Outputs", "bold"), *self._outputs(event.outputs)]
        past = {"succeeded": "done", "failed": "failed", "cancelled": "cancelled"}[event.result]
        style = "green" if event.result == "succeeded" else "red"
        # What a refresh takes over is done by nobody: it is in the counts only.
        told = event.counts if event.operation == "refresh" else self._done
        done = {op: n for op, n in told.items() if op not in _UNCOUNTED}
        if event.result == "succeeded":
            done["same"] = event.counts.get("same", 0)
        counts = summary.counts_line(done, self.look, done=True)
        took = f"{event.operation} {past} in {seconds_text(event.at_seconds)}"
        lines += ["", self.look.paint(took, style) + (f": {counts}" if counts else "")]
        return lines

    def _outputs(self, outputs: Mapping[str, Any]) -> list[str]:
        return output_lines(reveal(dict(outputs)) if self._show_secrets else outputs, "    ")


def output_lines(values: Mapping[str, Any], indent: str) -> list[str]:
    """Outputs, nested by indent, secrets masked, sorted; texts of several lines as such."""
    lines = []
    for key, raw in sorted(values.items()):
        value = raw if isinstance(raw, dict) else masked(raw)
        name = f"{indent}{clean(key)}:"
        if isinstance(value, dict) and value:
            lines += [name, *output_lines(value, indent + "    ")]
        elif isinstance(value, str) and "\n" in value.rstrip("\n"):
            lines += [name, *(f"{indent}    {line}" for line in clean(value).splitlines())]
        else:
            text = value if isinstance(value, str) else shown(value)
            lines.append(f"{name} {clean(text).rstrip()}")
    return lines


def _called(step: Step) -> str:
    return f"{step.type} {clean(step.name)}"


def _name_of(urn: str) -> str:
    try:
        return parse_urn(urn).name if urn else ""
    except TickoverError:
        return urn

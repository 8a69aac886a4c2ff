"""How far each resource of a run is: the tree that a person watches.

Owns: what is known of a running operation by resource, and its drawing. Promises: pure (time comes in);
components tell how many of theirs are done; the tree fits the rows it is given, what runs or failed first.
Never: writes, reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from tickover.engine.events import Diagnostic, Event, PlanReady, StepFailed, StepFinished, StepStarted
from tickover.engine.plan import Op, Plan, Step
from tickover.views.terminal import Look, clean, seconds_text
from tickover.views.tree import Cells, layout, table_lines
from tickover.views.words import COUNTED_AS, WORDS, is_quiet, shown_steps

HEAD: Cells = ("", "Type", "Name", "Status", "Info")


class Stage(IntEnum):
    """In the order of what is shown first when there is little room."""

    RUNNING = 0
    FAILED = 1
    DONE = 2
    WAITING = 3
    CONTEXT = 4  # only there because something below it changes


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource. seconds: what its ended steps took together. said: what its provider said last."""

    step: Step
    stage: Stage
    since_seconds: float = 0.0
    until_seconds: float = 0.0
    seconds: float = 0.0
    said: str = ""


class Progress:
    """Consumes events, draws."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def on_event(self, event: Event) -> None:
        """Remember what an event tells of a resource."""
        match event:
            case PlanReady():
                self._entries = _planned(event.plan)
            case StepStarted() if not is_quiet(event.step):
                self._put(event.step, Stage.RUNNING, event.at_seconds, 0.0)
            case StepFinished() if not is_quiet(event.step):
                self._put(event.step, Stage.DONE, event.at_seconds, event.duration_seconds)
            case StepFailed():
                self._put(event.step, Stage.FAILED, event.at_seconds, event.duration_seconds)
            case Diagnostic(ephemeral=True) if event.urn in self._entries:
                lines = clean(event.message).strip().splitlines()
                self._entries[event.urn] = replace(self._entries[event.urn], said=lines[0] if lines else "")

    def _put(self, step: Step, stage: Stage, at_seconds: float, took: float) -> None:
        known = self._entries.get(step.urn)
        fresh = known is None or known.stage in (Stage.WAITING, Stage.CONTEXT)
        if stage is Stage.DONE and step.op is Op.REPLACE and known is not None and not fresh:
            return  # the mark between the two halves, which tell the story
        since = at_seconds - took if fresh or known is None else known.since_seconds
        if stage is Stage.RUNNING:
            since = at_seconds
        seconds = took + (known.seconds if known is not None else 0.0)
        self._entries[step.urn] = Entry(step, stage, since, at_seconds, seconds)

    # --- drawing -----------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return not any(e.stage in (Stage.RUNNING, Stage.DONE, Stage.FAILED) for e in self._entries.values())

    def lines(self, look: Look, now_seconds: float, most_rows: int | None = None) -> list[str]:
        """The tree at a time, in at most so many lines."""
        entries = dict(self._entries)  # drawn from another thread than the one that hears the events
        below = _below(entries)
        chosen = _chosen(entries, None if most_rows is None else max(1, most_rows - 2))
        rows = []
        for step, drawing in layout({urn: entries[urn].step for urn in chosen}, look):
            entry = entries[step.urn]
            status, style = _status(entry, below.get(step.urn, ()), now_seconds)
            symbol = "" if entry.stage is Stage.CONTEXT else WORDS[_told_as(entry)].symbol
            cells = (symbol, drawing + step.type, clean(step.name), status, entry.said)
            rows.append((cells, style))
        lines = table_lines(HEAD, rows, look, fold=most_rows is None) if rows else []
        if left := len(entries) - len(chosen):
            lines.append(f"   {look.ellipsis} {left} more: {_tally(entries, chosen)}")
        return lines


def _planned(plan: Plan) -> dict[str, Entry]:
    everything = {step.urn: step for step in plan.steps}
    entries = {step.urn: Entry(step, Stage.WAITING) for step in shown_steps(plan.steps)}
    for step in list(entries.values()):
        parent = step.step.parent
        while parent in everything and parent not in entries:
            entries[parent] = Entry(everything[parent], Stage.CONTEXT)
            parent = everything[parent].parent
    return entries


def _told_as(entry: Entry) -> Op:
    return COUNTED_AS.get(entry.step.op, entry.step.op) if entry.stage is Stage.DONE else entry.step.op


def _below(entries: Mapping[str, Entry]) -> dict[str, tuple[Entry, ...]]:
    """Component → the custom resources anywhere below it that something is done to."""
    found: dict[str, list[Entry]] = {}
    for entry in entries.values():
        if not entry.step.custom or entry.stage is Stage.CONTEXT:
            continue
        parent, walked = entry.step.parent, set()
        while parent in entries and parent not in walked:
            walked.add(parent)
            if not entries[parent].step.custom:
                found.setdefault(parent, []).append(entry)
            parent = entries[parent].step.parent
    return {urn: tuple(below) for urn, below in found.items()}


def _status(entry: Entry, below: tuple[Entry, ...], now: float) -> tuple[str, str]:
    """Text and style of the Status column."""
    if below and not entry.step.custom:
        return _aggregate(below, now)
    word = WORDS[_told_as(entry)]
    match entry.stage:
        case Stage.RUNNING:
            return f"{word.doing} ({seconds_text(max(0.0, now - entry.since_seconds))})", word.style
        case Stage.DONE:
            took = f" ({seconds_text(entry.seconds)})" if entry.step.custom else ""
            return word.done + took, word.style
        case Stage.FAILED:
            return f"{word.doing} failed ({seconds_text(entry.seconds)})", "red"
        case _:
            return "", ""


def _aggregate(below: tuple[Entry, ...], now: float) -> tuple[str, str]:
    done = sum(e.stage is Stage.DONE for e in below)
    failed = sum(e.stage is Stage.FAILED for e in below)
    begun = [e for e in below if e.stage not in (Stage.WAITING, Stage.CONTEXT)]
    text = f"{done} of {len(below)}" + (f", {failed} failed" if failed else "")
    if not begun:
        return text, ""
    is_over = done + failed == len(below)
    until = max(e.until_seconds for e in begun) if is_over else now
    text += f" ({seconds_text(max(0.0, until - min(e.since_seconds for e in begun)))})"
    return text, "red" if failed else "green" if is_over else "yellow"


def _chosen(entries: Mapping[str, Entry], most: int | None) -> list[str]:
    """URNs to show: all, or what runs or failed with what it lies in, then the latest that ended."""
    if most is None or len(entries) <= most:
        return list(entries)
    chosen: dict[str, None] = {}
    for urn in sorted(entries, key=lambda u: (entries[u].stage, -entries[u].until_seconds, u)):
        path = [urn]
        while (parent := entries[path[-1]].step.parent) in entries and parent not in path:
            path.append(parent)
        missing = [u for u in path if u not in chosen]
        if len(chosen) + len(missing) <= most:
            chosen.update(dict.fromkeys(missing))
    return list(chosen)


def _tally(entries: Mapping[str, Entry], chosen: list[str]) -> str:
    shown = set(chosen)
    counts = dict.fromkeys(Stage, 0)
    for urn, entry in entries.items():
        if urn not in shown:
            counts[entry.stage] += 1
    names = {Stage.RUNNING: "running", Stage.FAILED: "failed", Stage.DONE: "done", Stage.WAITING: "waiting"}
    return ", ".join(f"{counts[s]} {name}" for s, name in names.items() if counts[s]) or "unchanged"

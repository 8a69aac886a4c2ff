"""Helpers for tests of whole operations: a world that outlives a process, and short forms of what happened.

Owns: `FileWorld` and how a child process is ended in it. Promises: its creations are idempotent by name, as
those of a cloud with names are. Never: decides what a test expects.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.engine_scripted import ScriptedProvider, Stack, name_of
from tickover.engine.events import StepFailed, StepFinished, StepStarted
from tickover.engine.operations import Outcome, Request
from tickover.engine.provider import (
    CreateRequest,
    CreateResult,
    DeleteRequest,
    ReadRequest,
    ReadResult,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import reveal

KILLED = 137


def plan_lines(outcome: Outcome) -> list[str]:
    """The plan's text without what stays the same, each URN by its name."""
    kept = [s for s in outcome.plan.steps if s.op.value != "same"]
    named = replace(outcome.plan, steps=tuple(replace(s, urn=s.name) for s in kept))
    return named.to_text().splitlines()


def step_events(stack: Stack) -> list[str]:
    """``started|finished|failed op name`` of the custom things, in order."""
    words = {StepStarted: "started", StepFinished: "finished", StepFailed: "failed"}
    return [
        f"{words[type(e)]} {e.step.op.value} {e.step.name}"
        for e in stack.events
        if isinstance(e, StepStarted | StepFinished | StepFailed) and e.step.type == "test:index:Thing"
    ]


class FileWorld:
    """Things in a file, by name (with a number for each replacement). die_at: ``before create a`` ..."""

    def __init__(self, path: Path, die_at: str = "") -> None:
        self._path = path
        self._die_at = die_at
        self.calls: list[str] = []

    def things(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}

    def put(self, key: str, value: dict[str, Any] | None) -> None:
        things = self.things()
        if value is None:
            things.pop(key, None)
        else:
            things[key] = value
        self._path.write_text(json.dumps(things, sort_keys=True))

    def reach(self, moment: str) -> None:
        self.calls.append(moment)
        if moment == self._die_at:
            os._exit(KILLED)


class FileProvider(ScriptedProvider):
    """The scripted provider over a `FileWorld`. An object is named by its name and its ``kind``."""

    def __init__(self, world: FileWorld, scripted: Any) -> None:
        super().__init__(scripted)
        self._file = world

    async def create(self, request: CreateRequest) -> CreateResult:
        name = name_of(request.urn)
        self._file.reach(f"before create {name}")
        id_ = f"{name}/{request.news.get('kind', 1)}"
        outputs = {**reveal(request.news), "token": f"token of {id_}"}
        self._file.put(id_, outputs)
        self._file.reach(f"inside create {name}")
        return CreateResult(id_, outputs)

    async def update(self, request: UpdateRequest) -> UpdateResult:
        name = name_of(request.urn)
        self._file.reach(f"before update {name}")
        assert request.id in self._file.things(), "an update of what is not there"
        outputs = {**reveal(request.news), "token": f"token of {request.id}"}
        self._file.put(request.id, outputs)
        self._file.reach(f"inside update {name}")
        return UpdateResult(outputs)

    async def delete(self, request: DeleteRequest) -> None:
        name = name_of(request.urn)
        self._file.reach(f"before delete {name}")
        self._file.put(request.id, None)
        self._file.reach(f"inside delete {name}")

    async def read(self, request: ReadRequest) -> ReadResult:
        found = self._file.things().get(request.id)
        if found is None:
            return ReadResult("", {})
        return ReadResult(request.id, found, {k: v for k, v in found.items() if k != "token"})


class FileStack(Stack):
    """A stack whose things are in ``world.json`` of its root."""

    die_at: str = ""

    @property
    def file_world(self) -> FileWorld:
        return FileWorld(self.root / "world.json", self.die_at)

    def request(self, **fields: Any) -> Request:
        base = super().request(**fields)
        world = self.file_world
        return replace(base, providers={"test": lambda log: FileProvider(world, self.world)})

"""A provider that does what a test scripts, and a stack on which a program runs with it.

Owns: `World` (what really exists), `ScriptedProvider` over it, `Stack` (project, back end and operations in
a temporary folder). Promises: in memory, no waiting unless a test scripts it. Never: a transport.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tickover.engine import operations
from tickover.engine.backend import FileBackend
from tickover.engine.events import Event
from tickover.engine.plan import Plan
from tickover.engine.project import load_project
from tickover.engine.provider import (
    CheckRequest,
    CheckResult,
    ConfigureRequest,
    CreateRequest,
    CreateResult,
    DeleteRequest,
    DiffKind,
    DiffRequest,
    DiffResult,
    InvokeResult,
    Local,
    PropertyDiff,
    ReadRequest,
    ReadResult,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.secrets import Keyring, Passphrase
from tickover.engine.state import Deployment
from tickover.engine.urn import parse_urn
from tickover.engine.values import reveal

PROJECT = "demo"
STACK = "dev"
# What programs of the tests begin with: `Thing(name, **inputs)`, `Provider(name, **inputs)`.
PRELUDE = """
import pulumi


class Thing(pulumi.CustomResource):
    def __init__(self, name, opts=None, **props):
        super().__init__("test:index:Thing", name, {"token": None, **props}, opts)


class Group(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("test:index:Group", name, {}, opts)


class Provider(pulumi.ProviderResource):
    def __init__(self, name, opts=None, **props):
        super().__init__("test", name, props, opts)


Opts = pulumi.ResourceOptions
"""


def name_of(urn: str) -> str:
    return parse_urn(urn).name


@dataclass
class World:
    """What exists, by (region, id). calls: ``verb name`` in the order they began.

    before: awaited before each effect, by ``verb name``; may raise or wait. checks: failures by name.
    """

    things: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    before: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    checks: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    configured: list[dict[str, Any]] = field(default_factory=list)
    delete_first: bool = False
    made: Counter[str] = field(default_factory=Counter)  # by name: registrations run side by side

    def effects(self) -> list[str]:
        """The calls with an effect."""
        return [c for c in self.calls if c.split()[0] in ("create", "update", "delete")]

    async def begin(self, verb: str, urn: str) -> None:
        call = f"{verb} {name_of(urn)}"
        self.calls.append(call)
        if call in self.before:
            await self.before[call]()


class ScriptedProvider(Local):
    """A change of ``kind`` replaces; ``region`` of the provider says where its things live."""

    supports_preview = False

    def __init__(self, world: World) -> None:
        self._world = world
        self._region = ""

    async def check_config(self, request: CheckRequest) -> CheckResult:
        return CheckResult(request.news)

    async def diff_config(self, request: DiffRequest) -> DiffResult:
        old, new = request.old_inputs, request.news
        moved = ("region",) if old.get("region") != new.get("region") else ()
        return DiffResult(changes=old != new, replaces=moved)

    async def configure(self, request: ConfigureRequest) -> None:
        inputs = request.inputs
        self._world.configured.append(inputs)
        self._region = str(reveal(inputs.get("region", "")))

    async def check(self, request: CheckRequest) -> CheckResult:
        await self._world.begin("check", request.urn)
        return CheckResult(request.news, self._world.checks.get(name_of(request.urn), ()))

    async def diff(self, request: DiffRequest) -> DiffResult:
        await self._world.begin("diff", request.urn)
        old, new = request.old_inputs, request.news
        changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
        replaces = tuple(k for k in changed if k == "kind")
        kind = {k: DiffKind.UPDATE_REPLACE if k in replaces else DiffKind.UPDATE for k in changed}
        return DiffResult(
            bool(changed), replaces, self._world.delete_first, {k: PropertyDiff(v) for k, v in kind.items()}
        )

    async def create(self, request: CreateRequest) -> CreateResult:
        await self._world.begin("create", request.urn)
        name = name_of(request.urn)
        self._world.made[name] += 1
        id_ = f"{name}-{self._world.made[name]}"
        outputs = {**request.news, "token": f"token of {id_}"}
        self._world.things[self._region, id_] = outputs
        return CreateResult(id_, outputs)

    async def read(self, request: ReadRequest) -> ReadResult:
        await self._world.begin("read", request.urn)
        found = self._world.things.get((self._region, request.id))
        return ReadResult(request.id, found) if found is not None else ReadResult("", {})

    async def update(self, request: UpdateRequest) -> UpdateResult:
        await self._world.begin("update", request.urn)
        outputs = {**request.news, "token": f"token of {request.id}"}
        self._world.things[self._region, request.id] = outputs
        return UpdateResult(outputs)

    async def delete(self, request: DeleteRequest) -> None:
        await self._world.begin("delete", request.urn)
        self._world.things.pop((self._region, request.id), None)

    async def invoke(self, token: str, args: dict[str, Any]) -> InvokeResult:
        return InvokeResult(dict(args))

    async def cancel(self) -> None:
        self._world.calls.append("cancel")

    async def close(self) -> None:
        """Nothing is open."""


async def yes(_: Plan) -> bool:
    return True


@dataclass
class Stack:
    """A project in root whose program a test writes."""

    root: Path
    world: World = field(default_factory=World)
    events: list[Event] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    parallel: int = 16
    canceller: operations.Canceller | None = None

    def __post_init__(self) -> None:
        self.root = self.root.resolve()
        (self.root / "Pulumi.yaml").write_text(yaml.safe_dump({"name": PROJECT, "runtime": "python"}))
        self.backend = FileBackend(self.root / "state")

    def write(self, program: str) -> Stack:
        (self.root / "__main__.py").write_text(PRELUDE + textwrap.dedent(program))
        return self

    def request(self, **fields: Any) -> operations.Request:
        (self.root / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump({"config": self.config}))
        self.events.clear()
        return operations.Request(
            project=load_project(self.root),
            stack=STACK,
            backend=self.backend,
            providers={"test": lambda log: ScriptedProvider(self.world)},
            on_event=self.events.append,
            passphrase=lambda: Passphrase("correct horse", "the test"),
            parallel=self.parallel,
            canceller=self.canceller or operations.Canceller(),
            **fields,
        )

    def keyring(self) -> Keyring:
        return Keyring(lambda: Passphrase("correct horse", "the test"))

    def preview(self, program: str | None = None, **fields: Any) -> operations.Outcome:
        if program is not None:
            self.write(program)
        return asyncio.run(operations.preview(self.request(**fields)))

    def up(self, program: str | None = None, confirm: Any = yes, **fields: Any) -> operations.Outcome:
        if program is not None:
            self.write(program)
        return asyncio.run(operations.up(self.request(**fields), confirm))

    def destroy(self, confirm: Any = yes) -> operations.Outcome:
        return asyncio.run(operations.destroy(self.request(), confirm))

    def refresh(self, **options: Any) -> operations.Outcome:
        return asyncio.run(operations.refresh(self.request(), yes, **options))

    def deployment(self) -> Deployment:
        return self.backend.load(PROJECT, STACK, self.keyring()).deployment

    def state_text(self) -> str:
        return (self.root / "state" / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json").read_text()

    def names(self) -> list[str]:
        """Names of the custom things in the state, in its order."""
        return [name_of(r.urn) for r in self.deployment().resources if r.type == "test:index:Thing"]

"""Turns the SDK's requests into goals and hands each to a worker, in a dry run and in an apply alike.

Owns: what was registered in this run, and default providers. Promises: a parent comes first, a URN comes
once. Never: decides or calls a provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from tickover.engine import wire
from tickover.engine.failures import Failures, explained
from tickover.engine.goal import Goal, goal_of, in_project, package_of
from tickover.engine.monitor import Registered, Stopping
from tickover.engine.provider import InvokeResult
from tickover.engine.state import ResourceState
from tickover.engine.urn import PROVIDER_TYPE_PREFIX, STACK_TYPE, make_urn, parse_urn
from tickover.engine.values import PropertyMap, PropertyValue, Secret
from tickover.errors import Exit, TickoverError

if TYPE_CHECKING:
    from pulumi.runtime.proto import resource_pb2

UNKNOWN_ID: Final = wire.UNKNOWN_STRING
_RESOURCE_MARK: Final = "@isPulumiResource"


class Worker(Protocol):
    """Plans or applies one goal; the answer's id is empty while unknown. What `handle` raises is reported
    by the registrar. keeps_going: a program is answered after a failure, so that it meets the others too."""

    keeps_going: ClassVar[bool]

    async def handle(self, goal: Goal) -> ResourceState: ...
    async def outputs(self, goal: Goal, state: ResourceState, outputs: PropertyMap) -> ResourceState: ...
    async def invoke(self, provider: str, token: str, args: PropertyMap) -> InvokeResult | None:
        """None: unknown yet."""


@dataclass(slots=True)
class ProgramRegistrar:
    """The `monitor.Registrar` of one run. goals, states: by URN, in the order they were answered."""

    project: str
    stack: str
    config: Mapping[str, str]
    secret_keys: tuple[str, ...]
    worker: Worker
    failures: Failures
    root: Path  # of the project
    goals: dict[str, Goal] = field(default_factory=dict)
    states: dict[str, ResourceState] = field(default_factory=dict)
    stack_outputs: PropertyMap = field(default_factory=dict)
    _claimed: set[str] = field(default_factory=set)
    _defaults: dict[tuple[str, str], asyncio.Task[str]] = field(default_factory=dict)

    async def register(self, request: resource_pb2.RegisterResourceRequest) -> Registered:
        try:
            parent = self._parent(request)
            goal = goal_of(request, self.stack, self.project, parent)
            goal = replace(
                goal, aliases=tuple(dict.fromkeys((*goal.aliases, *self._moved_with(parent, goal))))
            )
            goal = replace(goal, source_position=in_project(goal.source_position, self.root))
            goal = await self._with_provider(goal)
        except TickoverError as error:
            self.failures.add(error.address or request.name, error)
            raise
        try:
            state = await self._reported(goal)
        except TickoverError:
            if not self.worker.keeps_going or goal.is_provider:
                raise
            self.goals.setdefault(goal.urn, goal)
            return Registered(goal.urn, None, {}, has_failed=True)
        return Registered(
            urn=state.urn,
            id=state.id or None,
            outputs=state.outputs if state.custom else {},
            property_dependencies=dict(state.property_dependencies),
        )

    async def register_outputs(self, urn: str, outputs: PropertyMap) -> None:
        if urn not in self.goals:
            raise TickoverError(
                "unknown-resource", "Resource is not registered", "It gives outputs before that.", urn
            )
        if urn not in self.states:
            return  # it failed, and that was reported
        goal, state = self.goals[urn], self.states[urn]
        if goal.type == STACK_TYPE:
            outputs = {key: _unmarked(value) for key, value in outputs.items()}
            self.stack_outputs = outputs
        self.states[urn] = await self.worker.outputs(goal, state, outputs)

    def stop(self) -> None:
        """End what still runs on behalf of the program."""
        for task in self._defaults.values():
            task.cancel()

    async def read(self, request: resource_pb2.ReadResourceRequest) -> Registered:
        raise TickoverError(
            "not-supported",
            "Reading foreign resources",
            f"{request.type}.get() asks for a resource "
            "that this stack does not own; reading those is not supported.",
            address=request.name,
        )

    async def invoke(self, request: resource_pb2.ResourceInvokeRequest) -> InvokeResult | None:
        package = request.tok.split(":", 1)[0]
        provider = request.provider or await self._default_provider(package, request.version)
        args = wire.decode(request.args)
        try:
            return await self.worker.invoke(provider, request.tok, args)
        except Exception as error:
            raise explained(request.tok, error, args) from error

    # -- inside -------------------------------------------------------------------------------------

    async def _reported(self, goal: Goal) -> ResourceState:
        """`_handle`, with whatever is raised turned into a report."""
        try:
            return await self._handle(goal)
        except Stopping:
            raise
        except Exception as error:
            report = explained(goal.urn, error, goal.inputs)
            self.failures.add(goal.urn, report)
            raise report from error

    async def _handle(self, goal: Goal) -> ResourceState:
        if goal.urn in self._claimed:
            raise TickoverError(
                "duplicate-urn",
                "Two resources of one name",
                f"The program declares two resources of type {goal.type} named {goal.name!r} in one place. "
                "Give one of them another name.",
                address=goal.urn,
                exit_code=Exit.CONFIGURATION,
            )
        self._claimed.add(goal.urn)
        state = await self.worker.handle(goal)
        self.goals[goal.urn] = goal
        self.states[goal.urn] = state
        return state

    def _parent(self, request: resource_pb2.RegisterResourceRequest) -> Goal | None:
        if not request.parent:
            return None
        if request.parent not in self.goals:
            raise TickoverError(
                "unknown-parent",
                "Parent is not registered",
                f"The parent {request.parent} was not declared before its child.",
                address=request.name,
            )
        return self.goals[request.parent]

    def _moved_with(self, parent: Goal | None, goal: Goal) -> tuple[str, ...]:
        """Names this resource had under the names its parent had."""
        if parent is None or parent.type == STACK_TYPE:
            return ()
        own = [(goal.type, goal.name), *((u.type, u.name) for u in map(parse_urn, goal.aliases))]
        found: list[str] = []
        for former in parent.aliases:
            found += [make_urn(self.stack, self.project, former, type_, name) for type_, name in own]
            if goal.name.startswith(parent.name):  # a child named after its parent was so before
                name = parse_urn(former).name + goal.name.removeprefix(parent.name)
                found.append(make_urn(self.stack, self.project, former, goal.type, name))
        return tuple(found)

    async def _with_provider(self, goal: Goal) -> Goal:
        if not goal.custom or goal.is_provider or goal.provider:
            return goal
        return replace(goal, provider=await self._default_provider(package_of(goal.type), goal.version))

    async def _default_provider(self, package: str, version: str) -> str:
        """ "urn::id" of the default provider, registered when first needed."""
        name = f"default_{version}".replace(".", "_").replace("-", "_") if version else "default"
        key = (package, name)
        if key not in self._defaults:
            self._defaults[key] = asyncio.create_task(self._register_default(package, name, version))
        return await asyncio.shield(self._defaults[key])

    async def _register_default(self, package: str, name: str, version: str) -> str:
        type_ = PROVIDER_TYPE_PREFIX + package
        inputs: PropertyMap = {
            key.split(":", 1)[1]: Secret(text) if key in self.secret_keys else text
            for key, text in self.config.items()
            if key.startswith(f"{package}:")
        }
        if version:
            inputs["version"] = version
        goal = Goal(
            urn=make_urn(self.stack, self.project, "", type_, name),
            type=type_,
            name=name,
            custom=True,
            inputs=inputs,
        )
        state = await self._reported(goal)
        return f"{state.urn}::{state.id or UNKNOWN_ID}"


def _unmarked(value: PropertyValue) -> PropertyValue:
    """A stack output without the mark that the SDK leaves, in a dry run only, on what was a resource."""
    match value:
        case Secret():
            return Secret(_unmarked(value.value))
        case list():
            return [_unmarked(item) for item in value]
        case dict():
            return {k: _unmarked(v) for k, v in value.items() if k != _RESOURCE_MARK}
        case _:
            return value

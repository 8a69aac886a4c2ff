"""Turns the SDK's requests into goals and hands each to a worker, in a dry run and in an apply alike.

Owns: what was registered in this run, and default providers. Promises: a parent comes first, a URN comes
once. Never: decides or calls a provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from tickover.engine import wire
from tickover.engine.goal import Goal, goal_of, package_of
from tickover.engine.monitor import Registered
from tickover.engine.provider import InvokeResult
from tickover.engine.state import ResourceState
from tickover.engine.urn import PROVIDER_TYPE_PREFIX, STACK_TYPE, make_urn
from tickover.engine.values import PropertyMap
from tickover.errors import TickoverError

if TYPE_CHECKING:
    from pulumi.runtime.proto import resource_pb2

UNKNOWN_ID = wire.UNKNOWN_STRING


class Worker(Protocol):
    """Plans or applies one goal; the answer's id is empty while unknown."""

    async def handle(self, goal: Goal) -> ResourceState: ...
    async def outputs(self, goal: Goal, state: ResourceState, outputs: PropertyMap) -> ResourceState: ...
    async def invoke(self, provider: str, token: str, args: PropertyMap) -> InvokeResult: ...


@dataclass(slots=True)
class ProgramRegistrar:
    """The `monitor.Registrar` of one run. goals, states: by URN, in the order they were answered."""

    project: str
    stack: str
    config: Mapping[str, str]
    worker: Worker
    goals: dict[str, Goal] = field(default_factory=dict)
    states: dict[str, ResourceState] = field(default_factory=dict)
    stack_outputs: PropertyMap = field(default_factory=dict)
    _claimed: set[str] = field(default_factory=set)
    _defaults: dict[str, asyncio.Task[str]] = field(default_factory=dict)

    async def register(self, request: resource_pb2.RegisterResourceRequest) -> Registered:
        parent = self._parent(request)
        goal = goal_of(request, self.stack, self.project, parent)
        goal = replace(goal, aliases=(*goal.aliases, *self._moved_with(parent, goal)))
        state = await self._handle(await self._with_provider(goal))
        return Registered(
            urn=state.urn,
            id=state.id or None,
            outputs=state.outputs if state.custom else {},
            property_dependencies=dict(state.property_dependencies),
        )

    async def register_outputs(self, urn: str, outputs: PropertyMap) -> None:
        goal, state = self.goals[urn], self.states[urn]
        if goal.type == STACK_TYPE:
            self.stack_outputs = outputs
        self.states[urn] = await self.worker.outputs(goal, state, outputs)

    async def read(self, request: resource_pb2.ReadResourceRequest) -> Registered:
        raise TickoverError(
            "not-supported",
            "Reading foreign resources",
            f"{request.type}.get() asks for a resource "
            "that this stack does not own; reading those is not supported.",
            address=request.name,
        )

    async def invoke(self, request: resource_pb2.ResourceInvokeRequest) -> InvokeResult:
        package = request.tok.split(":", 1)[0]
        provider = request.provider or await self._default_provider(package, request.version)
        return await self.worker.invoke(provider, request.tok, wire.decode(request.args))

    # -- inside -------------------------------------------------------------------------------------

    async def _handle(self, goal: Goal) -> ResourceState:
        if goal.urn in self._claimed:
            raise TickoverError(
                "duplicate-urn",
                "Two resources of one name",
                f"The program declares two resources of type {goal.type} named {goal.name!r} in one place. "
                "Give one of them another name.",
                address=goal.urn,
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
        return tuple(make_urn(self.stack, self.project, a, goal.type, goal.name) for a in parent.aliases)

    async def _with_provider(self, goal: Goal) -> Goal:
        if not goal.custom or goal.is_provider or goal.provider:
            return goal
        return replace(goal, provider=await self._default_provider(package_of(goal.type), goal.version))

    async def _default_provider(self, package: str, version: str) -> str:
        """ "urn::id" of the default provider, registered when first needed."""
        name = f"default_{version}".replace(".", "_").replace("-", "_") if version else "default"
        if name + package not in self._defaults:
            self._defaults[name + package] = asyncio.create_task(
                self._register_default(package, name, version)
            )
        return await asyncio.shield(self._defaults[name + package])

    async def _register_default(self, package: str, name: str, version: str) -> str:
        type_ = PROVIDER_TYPE_PREFIX + package
        inputs: PropertyMap = {
            key.split(":", 1)[1]: text for key, text in self.config.items() if key.startswith(f"{package}:")
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
        state = await self._handle(goal)
        return f"{state.urn}::{state.id or UNKNOWN_ID}"

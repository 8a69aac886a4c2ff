"""The dry run: each goal is checked and diffed and becomes a planned decision.

Owns: the plan in the making. Promises: no effect on anything; all failures are collected, each is reported
once. Never: writes state.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace

from tickover.engine import wire
from tickover.engine.decide import Choice, Decision, decide, steps_of
from tickover.engine.failures import Failures, check_failed
from tickover.engine.goal import Goal
from tickover.engine.graph import dependants
from tickover.engine.plan import Op, Step
from tickover.engine.provider import (
    CheckRequest,
    CreateRequest,
    DiffRequest,
    DiffResult,
    InvokeResult,
    Provider,
    Unavailable,
    UpdateRequest,
)
from tickover.engine.providers import Handle, Providers
from tickover.engine.state import ResourceState
from tickover.engine.structdiff import compare, with_ignored, with_unknown
from tickover.engine.urn import parse_urn, split_reference
from tickover.engine.values import PropertyMap, contains_unknown
from tickover.errors import TickoverError


@dataclass(frozen=True, slots=True)
class Planned:
    """What the plan says of one URN. inputs: checked, may hold unknowns. first: URNs that are deleted
    before this one's deletion, because they cannot outlive it."""

    goal: Goal
    old: ResourceState | None
    inputs: PropertyMap
    decision: Decision
    new: ResourceState
    first: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        return steps_of(self.decision, self.old, self.new, self.goal.name)


@dataclass(slots=True)
class Prior:
    """The prior state, by URN. doomed: entries whose replacement is up and that still are to be deleted."""

    live: dict[str, ResourceState]
    doomed: tuple[ResourceState, ...]
    order: tuple[ResourceState, ...]

    @classmethod
    def of(cls, resources: tuple[ResourceState, ...]) -> Prior:
        return cls(
            {r.urn: r for r in resources if not r.delete}, tuple(r for r in resources if r.delete), resources
        )

    def find(self, goal: Goal) -> ResourceState | None:
        """By name, else by alias."""
        return next((self.live[urn] for urn in (goal.urn, *goal.aliases) if urn in self.live), None)


def random_seed(urn: str) -> bytes:
    """The 32 bytes that autonaming draws from: the same in the dry run and in the apply."""
    return hashlib.sha256(urn.encode()).digest()


@dataclass(slots=True)
class Planner:
    """The worker of the dry run. planned: in the order the program registered."""

    prior: Prior
    providers: Providers
    failures: Failures
    parallel: asyncio.Semaphore
    planned: dict[str, Planned] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    async def handle(self, goal: Goal) -> ResourceState:
        try:
            async with self.parallel:
                planned = await self._plan(goal)
        except TickoverError as error:
            self.failures.add(goal.urn, error)
            raise
        self.planned[goal.urn] = planned
        self.seen.add(goal.urn)
        if planned.old is not None:
            self.seen.add(planned.old.urn)
        return planned.new

    async def outputs(self, goal: Goal, state: ResourceState, outputs: PropertyMap) -> ResourceState:
        planned = self.planned[goal.urn]
        new = replace(state, outputs=outputs)
        self.planned[goal.urn] = replace(planned, new=new)
        return new

    async def invoke(self, provider: str, token: str, args: PropertyMap) -> InvokeResult:
        if contains_unknown(args):
            return InvokeResult({})
        return await self.providers.of(provider, token).provider.invoke(token, args)

    # -- one resource -----------------------------------------------------------------------------------

    async def _plan(self, goal: Goal) -> Planned:
        old = self.prior.find(goal)
        if not goal.custom:
            decision = decide(old, goal, None)
            return Planned(goal, old, goal.inputs, decision, goal.as_state(goal.inputs))
        wanted = with_ignored(goal.inputs, old.inputs, goal.ignore_changes) if old else goal.inputs
        if goal.is_provider:
            return await self._plan_provider(goal, old, wanted)
        handle = self.providers.of(goal.provider, goal.urn)
        kept = old if old is not None and not old.pending_replacement else None
        inputs = await self._check(handle.provider, goal, wanted, kept)
        diff = await self._diff(handle, goal, kept, inputs) if kept else None
        decision = decide(old, goal, diff, goal.urn in self.forced)
        if decision.choice is Choice.REPLACE:
            inputs = await self._check(handle.provider, goal, wanted, None)
        self._protect(goal, old, decision)
        first: tuple[str, ...] = ()
        if decision.choice is Choice.REPLACE and decision.delete_first and old is not None:
            first = await self._cascade(old)
        new = await self._preview(handle, goal, old, inputs, decision)
        return Planned(goal, old, inputs, decision, new, first)

    async def _plan_provider(self, goal: Goal, old: ResourceState | None, wanted: PropertyMap) -> Planned:
        handle = self.providers.open(goal.urn, goal.type)
        checked = await handle.provider.check_config(
            CheckRequest(goal.urn, old.inputs if old else None, wanted)
        )
        check_failed(goal.urn, checked.failures)
        diff: DiffResult | None = None
        if old is not None:
            request = DiffRequest(
                goal.urn, old.id, old.inputs, old.outputs, checked.inputs, goal.ignore_changes
            )
            diff = await handle.provider.diff_config(request)
            if diff.changes is None:
                diff = replace(compare(old.inputs, checked.inputs), replaces=())
        decision = decide(old, goal, diff)
        handle.is_replaced = decision.choice is Choice.REPLACE
        await self.providers.configure(handle, checked.inputs)
        keeps_id = old is not None and decision.choice in (Choice.SAME, Choice.UPDATE)
        new = goal.as_state(checked.inputs, old.id if keeps_id and old else "", checked.inputs)
        return Planned(goal, old, checked.inputs, decision, new)

    async def _check(
        self, provider: Provider, goal: Goal, wanted: PropertyMap, old: ResourceState | None
    ) -> PropertyMap:
        request = CheckRequest(goal.urn, old.inputs if old else None, wanted, random_seed(goal.urn))
        result = await provider.check(request)
        check_failed(goal.urn, result.failures)
        return wire.remark_secrets(result.inputs, wanted)

    async def _diff(self, handle: Handle, goal: Goal, old: ResourceState, inputs: PropertyMap) -> DiffResult:
        diff = await ask_diff(handle.provider, goal, old, inputs)
        for warning in diff.warnings:
            self.failures.warn(goal.urn, warning)
        if handle.is_replaced:
            return replace(diff, replaces=(*diff.replaces, "provider"))
        return diff

    def _protect(self, goal: Goal, old: ResourceState | None, decision: Decision) -> None:
        if old is not None and old.protect and goal.protect and decision.choice is Choice.REPLACE:
            raise protected(
                old, f"must be replaced ({', '.join(decision.replace_keys) or 'by its dependencies'})"
            )

    async def _cascade(self, old: ResourceState) -> tuple[str, ...]:
        """Dependants that cannot outlive old: replaced too, if their provider says so of the unknown."""
        gone = {old.urn}
        found: list[str] = []
        for urn in dependants(self.prior.order, old.urn):
            resource = self.prior.live.get(urn)
            if resource is None or not resource.custom:
                continue
            keys = [k for k, urns in resource.property_dependencies.items() if gone.intersection(urns)]
            provider_gone = split_reference(resource.provider)[0] in gone if resource.provider else False
            if provider_gone or resource.deleted_with in gone or await self._falls(resource, keys):
                gone.add(urn)
                self.forced.add(urn)
                found.append(urn)
        return tuple(reversed(found))

    async def _falls(self, resource: ResourceState, keys: list[str]) -> bool:
        if not keys:
            return False
        provider = await self.providers.of_state(resource, self.prior.live)
        request = DiffRequest(
            resource.urn, resource.id, resource.inputs, resource.outputs, with_unknown(resource.inputs, keys)
        )
        diff = await provider.diff(request)
        return bool(diff.replaces) or any(d.kind.is_replace for d in diff.detailed.values())

    async def _preview(
        self, handle: Handle, goal: Goal, old: ResourceState | None, inputs: PropertyMap, decision: Decision
    ) -> ResourceState:
        """The state as far as it can be known before apply."""
        if decision.choice is Choice.SAME and old is not None:
            return after_same(goal, old, inputs)
        outputs: PropertyMap = inputs
        asks = handle.provider.supports_preview and handle.is_configured
        if decision.choice is Choice.UPDATE and old is not None:
            if asks:
                request = UpdateRequest(
                    goal.urn, old.id, old.inputs, old.outputs, inputs,
                    ignore_changes=goal.ignore_changes, preview=True,
                )  # fmt: skip
                outputs = (await handle.provider.update(request)).outputs
            return goal.as_state(inputs, old.id, marked(goal, outputs, inputs))
        if asks:
            outputs = (await handle.provider.create(CreateRequest(goal.urn, inputs, preview=True))).outputs
        return goal.as_state(inputs, "", marked(goal, outputs, inputs))


async def ask_diff(provider: Provider, goal: Goal, old: ResourceState, inputs: PropertyMap) -> DiffResult:
    """The provider's diff; the engine's own comparison where the provider cannot tell."""
    request = DiffRequest(goal.urn, old.id, old.inputs, old.outputs, inputs, goal.ignore_changes)
    try:
        diff = await provider.diff(request)
    except Unavailable:
        return DiffResult(True, warnings=("the provider is not configured yet: an update is assumed",))
    if diff.changes is None:
        return compare(old.inputs, inputs)
    if diff.changes and not diff.detailed:
        return replace(compare(old.inputs, inputs), changes=True, replaces=diff.replaces,
                       delete_before_replace=diff.delete_before_replace, warnings=diff.warnings)  # fmt: skip
    return diff


def marked(goal: Goal, outputs: PropertyMap, inputs: PropertyMap) -> PropertyMap:
    """outputs, secret where the input of that name is, or where the program says so."""
    found = wire.remark_secrets(outputs, inputs)
    return {k: wire.as_secret(v) if k in goal.additional_secret_outputs else v for k, v in found.items()}


def after_same(goal: Goal, old: ResourceState, inputs: PropertyMap) -> ResourceState:
    """The state of an unchanged resource: what the program says of it is taken over, the rest stays."""
    new = goal.as_state(inputs, old.id, marked(goal, old.outputs, inputs))
    return replace(
        new, created=old.created, modified=old.modified, init_errors=old.init_errors, extra=old.extra
    )


def protected(old: ResourceState, what: str) -> TickoverError:
    return TickoverError(
        "protected",
        "Resource is protected",
        f"{parse_urn(old.urn).name} {what}, and it is protected. Remove `protect` from it and run up first.",
        address=old.urn,
    )


def removal(resource: ResourceState, reason: str, op: Op = Op.DELETE) -> Step:
    """The step that removes a resource."""
    return Step(
        op=op,
        urn=resource.urn,
        type=resource.type,
        name=parse_urn(resource.urn).name,
        custom=resource.custom,
        parent=resource.parent,
        old=resource,
        reasons=(reason,),
        source_position=resource.source_position,
    )

"""The dry run: each goal is checked and diffed and becomes a planned decision.

Owns: the plan in the making. Promises: no effect on anything; all failures are collected, each is reported
once. Never: writes state.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from tickover.engine import wire
from tickover.engine.decide import Choice, Decision, decide, steps_of
from tickover.engine.effects import secret_outputs
from tickover.engine.failures import Failures, check_failed
from tickover.engine.goal import Goal
from tickover.engine.graph import dependants
from tickover.engine.monitor import Stopping
from tickover.engine.plan import Op, Step
from tickover.engine.provider import (
    CheckRequest,
    CreateRequest,
    DiffRequest,
    DiffResult,
    InvokeResult,
    Provider,
    Unavailable,
    Unimplemented,
    UpdateRequest,
)
from tickover.engine.providers import Handle, ProviderEntries, Providers
from tickover.engine.state import ResourceState
from tickover.engine.structdiff import compare, with_ignored, with_unknown
from tickover.engine.urn import parse_urn, split_reference
from tickover.engine.values import PropertyMap, contains_unknown
from tickover.errors import Exit, TickoverError


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
    providers: ProviderEntries

    @classmethod
    def of(cls, resources: tuple[ResourceState, ...]) -> Prior:
        return cls(
            {r.urn: r for r in resources if not r.delete},
            tuple(r for r in resources if r.delete),
            resources,
            ProviderEntries(resources),
        )

    def find(self, goal: Goal) -> ResourceState | None:
        """By name, else by alias."""
        return next((self.live[urn] for urn in (goal.urn, *goal.aliases) if urn in self.live), None)


def random_seed(urn: str, old: ResourceState | None, choice: Choice) -> bytes:
    """The 32 bytes that autonaming draws from: the same in the dry run and in the apply, others for a
    replacement than for the one that it replaces."""
    salt = old.id if old is not None and choice is Choice.REPLACE else ""
    return hashlib.sha256(f"{urn}\0{salt}".encode()).digest()


@dataclass(slots=True)
class Planner:
    """The worker of the dry run. planned: in the order the program registered. forced, seen: old URNs."""

    prior: Prior
    providers: Providers
    failures: Failures
    parallel: asyncio.Semaphore
    is_stopped: Callable[[], bool] = lambda: False
    planned: dict[str, Planned] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)
    seen: dict[str, str] = field(default_factory=dict)  # old URN → the new one that goes on from it

    keeps_going: ClassVar[bool] = True  # a dry run collects every failure

    async def handle(self, goal: Goal) -> ResourceState:
        if self.is_stopped():
            raise Stopping("the operation was cancelled")
        async with self.parallel:
            self.planned[goal.urn] = await self._plan(goal)
        return self.planned[goal.urn].new

    async def outputs(self, goal: Goal, state: ResourceState, outputs: PropertyMap) -> ResourceState:
        planned = self.planned[goal.urn]
        new = replace(state, outputs=outputs)
        self.planned[goal.urn] = replace(planned, new=new)
        return new

    async def invoke(self, provider: str, token: str, args: PropertyMap) -> InvokeResult | None:
        handle = self.providers.of(provider, token)
        if contains_unknown(args) or not handle.is_configured:
            return None
        return await handle.provider.invoke(token, args)

    # -- one resource -----------------------------------------------------------------------------------

    async def _plan(self, goal: Goal) -> Planned:
        old = self.prior.find(goal)
        if old is not None:
            self._claim(old, goal)
        if not goal.custom:
            decision = decide(old, goal, None)
            new = goal.as_state(
                goal.inputs, outputs=old.outputs if old is not None and not old.custom else {}
            )
            return Planned(goal, old, goal.inputs, decision, new)
        wanted = with_ignored(goal.inputs, old.inputs, goal.ignore_changes) if old else goal.inputs
        if goal.is_provider:
            return await self._plan_provider(goal, old, wanted)
        handle = self.providers.of(goal.provider, goal.urn)
        kept = old if old is not None and is_comparable(old) else None
        inputs = await self._check(handle.provider, goal, wanted, kept)
        diff = await self._diff(handle, goal, kept, inputs) if kept else None
        decision = decide(old, goal, diff, old is not None and (old.urn in self.forced or self._dies(goal)))
        if decision.choice is Choice.REPLACE:
            inputs = await self._check(handle.provider, goal, wanted, None, old)
        self._protect(goal, old, decision)
        first: tuple[str, ...] = ()
        if decision.choice is Choice.REPLACE and decision.delete_first and old is not None:
            first = await self._cascade(old)
        new = await self._preview(handle, goal, old, inputs, decision)
        return Planned(goal, old, inputs, decision, new, first)

    def _claim(self, old: ResourceState, goal: Goal) -> None:
        other = self.seen.setdefault(old.urn, goal.urn)
        if other != goal.urn:
            raise TickoverError(
                "alias-taken",
                "Two resources of one past",
                f"This resource and {other} both say that they were {old.urn}. Remove one of the aliases.",
                address=goal.urn,
                exit_code=Exit.CONFIGURATION,
            )

    def _dies(self, goal: Goal) -> bool:
        """True if what it is deleted with is replaced."""
        whole = self.planned.get(goal.deleted_with)
        return whole is not None and whole.decision.choice is Choice.REPLACE

    async def _plan_provider(self, goal: Goal, old: ResourceState | None, wanted: PropertyMap) -> Planned:
        handle = self.providers.open(goal.urn, goal.type)
        checked = await handle.check_config(CheckRequest(goal.urn, old.inputs if old else None, wanted))
        check_failed(goal.urn, checked.failures, wanted)
        inputs = wire.remark_secrets(checked.inputs, wanted)
        diff: DiffResult | None = None
        if old is not None:
            handle.former = old.urn
            request = DiffRequest(goal.urn, old.id, old.inputs, old.outputs, inputs, goal.ignore_changes)
            diff = await handle.diff_config(request)
            if diff.changes is None or (diff.changes and not diff.detailed):
                diff = replace(compare(old.inputs, inputs), replaces=diff.replaces)
        decision = decide(old, goal, diff)
        self._protect(goal, old, decision)
        handle.is_replaced = decision.choice is Choice.REPLACE
        await self.providers.configure(handle, inputs)
        keeps_id = old is not None and decision.choice in (Choice.SAME, Choice.UPDATE)
        new = goal.as_state(inputs, old.id if keeps_id and old else "", inputs)
        return Planned(goal, old, inputs, decision, new)

    async def _check(
        self,
        provider: Provider,
        goal: Goal,
        wanted: PropertyMap,
        kept: ResourceState | None,
        replaced: ResourceState | None = None,
    ) -> PropertyMap:
        choice = Choice.CREATE if replaced is None else Choice.REPLACE
        return await checked(provider, goal, wanted, kept, random_seed(goal.urn, replaced, choice))

    async def _diff(self, handle: Handle, goal: Goal, old: ResourceState, inputs: PropertyMap) -> DiffResult:
        diff = await ask_diff(handle.provider, goal, old, inputs)
        for warning in diff.warnings:
            self.failures.warn(goal.urn, warning)
        if handle.is_replaced or await self._is_elsewhere(handle, goal, old):
            return replace(diff, replaces=(*diff.replaces, "provider"))
        return diff

    async def _is_elsewhere(self, handle: Handle, goal: Goal, old: ResourceState) -> bool:
        """True if the provider it has now would not find what another provider made."""
        urn = split_reference(goal.provider)[0]
        before = split_reference(old.provider)[0] if old.provider else urn
        if before in (urn, handle.former):
            return False
        entry = self.prior.providers.of(old)
        request = DiffRequest(urn, entry.id, entry.inputs, entry.outputs, handle.inputs)
        diff = await handle.diff_config(request)
        return bool(diff.replaces) or any(d.kind.is_replace for d in diff.detailed.values())

    def _protect(self, goal: Goal, old: ResourceState | None, decision: Decision) -> None:
        if old is not None and old.protect and goal.protect and decision.choice is Choice.REPLACE:
            why = ", ".join(decision.replace_keys) or "by its dependencies"
            raise protected(old, f"must be replaced ({why})")

    async def _cascade(self, old: ResourceState) -> tuple[str, ...]:
        """Dependants that cannot outlive old: replaced too, if their provider says so of the unknown."""
        gone = {old.urn}
        found: list[str] = []
        for urn in dependants(self.prior.order, old.urn):
            resource = self.prior.live.get(urn)
            if resource is None or not resource.custom or resource.pending_replacement:
                continue
            if urn in self.seen and urn not in self.forced:
                continue  # registered before this one was answered: it does not need it any more
            keys = [k for k, urns in resource.property_dependencies.items() if gone.intersection(urns)]
            provider_gone = split_reference(resource.provider)[0] in gone if resource.provider else False
            if provider_gone or resource.deleted_with in gone or await self._falls(resource, keys):
                if resource.protect:
                    raise protected(resource, f"must be replaced, because {parse_urn(old.urn).name} must")
                gone.add(urn)
                self.forced.add(urn)
                found.append(urn)
        return tuple(reversed(found))

    async def _falls(self, resource: ResourceState, keys: list[str]) -> bool:
        if not keys:
            return False
        provider = await self.providers.of_state(resource, self.prior.providers)
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
    except Unimplemented:
        return compare(old.inputs, inputs)
    except Unavailable:
        return DiffResult(True, warnings=("the provider is not configured yet: an update is assumed",))
    if diff.changes is None:
        return compare(old.inputs, inputs)
    if diff.changes and not diff.detailed:
        return replace(compare(old.inputs, inputs), changes=True, replaces=diff.replaces,
                       delete_before_replace=diff.delete_before_replace, warnings=diff.warnings)  # fmt: skip
    return diff


async def checked(
    provider: Provider, goal: Goal, wanted: PropertyMap, kept: ResourceState | None, seed: bytes
) -> PropertyMap:
    """The inputs as the provider completes them. Raises TickoverError with every failure it found."""
    try:
        result = await provider.check(CheckRequest(goal.urn, kept.inputs if kept else None, wanted, seed))
    except (Unavailable, Unimplemented):
        return wanted
    check_failed(goal.urn, result.failures, wanted)
    return wire.remark_secrets(result.inputs, wanted)


def is_comparable(old: ResourceState) -> bool:
    """False where there is no own object of the same kind to compare with."""
    return old.custom and not old.pending_replacement and not old.external


def marked(goal: Goal, outputs: PropertyMap, inputs: PropertyMap) -> PropertyMap:
    """outputs, secret where the input of that name is, or where the program says so."""
    return secret_outputs(outputs, inputs, goal.additional_secret_outputs)


def after_same(goal: Goal, old: ResourceState, inputs: PropertyMap) -> ResourceState:
    """The state of an unchanged resource: what the program says of it is taken over, the rest stays."""
    new = goal.as_state(inputs, old.id, marked(goal, old.outputs, inputs))
    return replace(
        new,
        created=old.created,
        modified=old.modified,
        init_errors=old.init_errors,
        import_id=old.import_id,
        extra=old.extra,
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

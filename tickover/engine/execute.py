"""The apply: each registration is answered from its planned decision, with provider calls.

Owns: the provider calls with an effect, and their records in the journal. Promises: nothing is done that
was not planned; every call is on disk before and after; once something failed or somebody asked to stop,
nothing new is begun. Never: orders what the program orders.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tickover.engine import wire
from tickover.engine.decide import Choice, Decision, decide
from tickover.engine.events import Event, StepFailed, StepFinished, StepStarted
from tickover.engine.failures import Failures, check_failed
from tickover.engine.goal import Goal
from tickover.engine.journal import Journal
from tickover.engine.monitor import Stopping
from tickover.engine.plan import Op, Step
from tickover.engine.planner import Planned, Prior, after_same, ask_diff, marked, random_seed, removal
from tickover.engine.provider import (
    CheckRequest,
    CreateRequest,
    DeleteRequest,
    InitFailed,
    InvokeResult,
    UpdateRequest,
)
from tickover.engine.providers import Handle, Providers
from tickover.engine.state import CustomTimeouts, ResourceState
from tickover.engine.structdiff import compatible, with_ignored
from tickover.engine.values import PropertyMap, contains_unknown
from tickover.errors import Exit, TickoverError


@dataclass(slots=True)
class Canceller:
    """Asks a running operation to end: once finishes what runs and saves, twice stops at once."""

    presses: int = 0
    on_press: list[Callable[[int], None]] = field(default_factory=list)

    def cancel(self) -> None:
        self.presses += 1
        for tell in list(self.on_press):
            tell(self.presses)

    @property
    def is_cancelled(self) -> bool:
        return self.presses > 0


@dataclass(slots=True)
class Effects:
    """Does steps: events, journal, limits. What apply, delete and destroy share."""

    journal: Journal
    providers: Providers
    failures: Failures
    canceller: Canceller
    parallel: asyncio.Semaphore
    emit: Callable[[Event], None]
    clock: Callable[[], float]  # seconds since the operation began

    async def perform(
        self, step: Step, subject: ResourceState, call: Callable[[], Awaitable[ResourceState | None]]
    ) -> ResourceState | None:
        """One provider call. subject: what the journal says is being worked on. Raises after a failure."""
        async with self.parallel:
            self.check_stop()
            begun = time.monotonic()
            self.emit(StepStarted(self.clock(), step))
            ticket = await self.journal.begin(step.op, subject, step.old)
            try:
                result = await call()
            except InitFailed as partial:
                kept = self._partial(subject, partial)
                await self.journal.done(ticket, kept)
                raise self._failed(step, begun, "; ".join(partial.reasons)) from partial
            except TickoverError as error:
                await self.journal.failed(ticket)
                raise self._failed(step, begun, str(error), error) from error
            await self.journal.done(ticket, result)
            self.emit(StepFinished(self.clock(), step, time.monotonic() - begun))
            return result

    def note(self, step: Step, resource: ResourceState | None) -> None:
        """A step that needs no provider."""
        if step.op is not Op.SAME:
            self.emit(StepStarted(self.clock(), step))
        self.journal.note(step.op, resource, step.old)
        if step.op is not Op.SAME:
            self.emit(StepFinished(self.clock(), step, 0.0))

    def check_stop(self) -> None:
        """Raises Stopping if nothing new may be begun."""
        if self.canceller.is_cancelled:
            raise Stopping("the operation was cancelled")
        if self.failures:
            raise Stopping("another resource failed")

    async def delete(self, step: Step, prior: Prior, leaves: ResourceState | None = None) -> bool:
        """Delete step.old; leaves: what the state keeps of it. False if it failed (and was reported)."""
        old = step.old
        assert old is not None
        timeouts = old.custom_timeouts or CustomTimeouts()

        async def call() -> ResourceState | None:
            provider = await self.providers.of_state(old, prior.live)
            request = DeleteRequest(old.urn, old.id, old.inputs, old.outputs, timeouts.delete)
            await provider.delete(request)
            return leaves

        try:
            if needs_provider(old):
                await self.perform(step, old, call)
            else:
                self.check_stop()
                self.note(step, leaves)
        except (TickoverError, Stopping):
            return False
        return True

    def _partial(self, subject: ResourceState, partial: InitFailed) -> ResourceState:
        return replace(
            subject,
            id=partial.id,
            inputs=partial.inputs if partial.inputs is not None else subject.inputs,
            outputs=wire.remark_secrets(partial.outputs, subject.inputs),
            init_errors=partial.reasons,
        )

    def _failed(
        self, step: Step, begun: float, message: str, error: TickoverError | None = None
    ) -> TickoverError:
        self.emit(StepFailed(self.clock(), step, time.monotonic() - begun, message))
        found = error or TickoverError(
            "resource-failed", "Resource is not as asked", message, step.urn, exit_code=Exit.RESOURCE
        )
        self.failures.add(step.urn, found)
        return found


def needs_provider(resource: ResourceState) -> bool:
    """False where a removal only forgets: components, providers, what is external or retained."""
    from tickover.engine.urn import is_provider_type

    return (
        resource.custom
        and not resource.external
        and not resource.retain_on_delete
        and not resource.pending_replacement
        and not is_provider_type(resource.type)
    )


def now_rfc3339() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Applier:
    """The worker of the apply run."""

    prior: Prior
    planned: dict[str, Planned]
    effects: Effects
    deleted: set[str] = field(default_factory=set)
    applied: set[str] = field(default_factory=set)

    async def handle(self, goal: Goal) -> ResourceState:
        try:
            self.effects.check_stop()
            planned = self._planned(goal)
            state = await self._apply(goal, planned)
        except TickoverError as error:
            self.effects.failures.add(goal.urn, error)
            raise
        self.applied.add(goal.urn)
        return state

    async def outputs(self, goal: Goal, state: ResourceState, outputs: PropertyMap) -> ResourceState:
        new = replace(state, outputs=outputs)
        self.effects.journal.note(Op.SAME, new, state)
        return new

    async def invoke(self, provider: str, token: str, args: PropertyMap) -> InvokeResult:
        return await self.effects.providers.of(provider, token).provider.invoke(token, args)

    # -- one resource -------------------------------------------------------------------------------------

    def _planned(self, goal: Goal) -> Planned:
        planned = self.planned.get(goal.urn)
        if planned is None:
            raise violated(goal.urn, "the program declares it now, and did not when the plan was made")
        return planned

    async def _apply(self, goal: Goal, planned: Planned) -> ResourceState:
        old = planned.old
        if not goal.custom:
            return self._component(goal, planned)
        wanted = with_ignored(goal.inputs, old.inputs, goal.ignore_changes) if old else goal.inputs
        if goal.is_provider:
            return await self._provider(goal, planned, wanted)
        handle = self.effects.providers.of(goal.provider, goal.urn)
        inputs, decision = await self._settled(goal, planned, wanted, handle)
        match decision.choice:
            case Choice.SAME:
                assert old is not None
                new = after_same(goal, old, inputs)
                self.effects.note(self._step(Op.SAME, planned, new), new)
                return new
            case Choice.CREATE:
                return await self._create(Op.CREATE, goal, planned, inputs, handle)
            case Choice.UPDATE:
                return await self._update(goal, planned, inputs, handle)
            case Choice.REPLACE:
                if decision.delete_first:
                    await self._delete_first(planned)
                return await self._create(Op.CREATE_REPLACEMENT, goal, planned, inputs, handle)

    async def _settled(
        self, goal: Goal, planned: Planned, wanted: PropertyMap, handle: Handle
    ) -> tuple[PropertyMap, Decision]:
        """Inputs now that all is known, and the decision, which may be less than planned, never more."""
        old = planned.old
        kept = old if old is not None and not old.pending_replacement else None
        fresh = planned.decision.choice in (Choice.CREATE, Choice.REPLACE)
        request = CheckRequest(
            goal.urn, None if fresh or kept is None else kept.inputs, wanted, random_seed(goal.urn)
        )
        checked = await handle.provider.check(request)
        check_failed(goal.urn, checked.failures)
        inputs = wire.remark_secrets(checked.inputs, wanted)
        if not compatible(planned.inputs, inputs):
            raise violated(goal.urn, "its inputs are not what the plan says")
        decision = planned.decision
        if decision.choice is Choice.UPDATE and kept is not None and contains_unknown(planned.inputs):
            actual = decide(kept, goal, await ask_diff(handle.provider, goal, kept, inputs))
            if actual.choice is Choice.REPLACE:
                raise violated(
                    goal.urn, "an update was planned, and now that all is known it must be replaced"
                )
            decision = actual
        return inputs, decision

    def _component(self, goal: Goal, planned: Planned) -> ResourceState:
        if not compatible(planned.inputs, goal.inputs):
            raise violated(goal.urn, "its inputs are not what the plan says")
        old = planned.old
        new = goal.as_state(goal.inputs, outputs=old.outputs if old else {})
        stamp = now_rfc3339()
        new = replace(new, created=old.created if old else stamp, modified=old.modified if old else stamp)
        op = {Choice.SAME: Op.SAME, Choice.UPDATE: Op.UPDATE}.get(planned.decision.choice, Op.CREATE)
        self.effects.note(self._step(op, planned, new), new)
        return new

    async def _provider(self, goal: Goal, planned: Planned, wanted: PropertyMap) -> ResourceState:
        effects, old = self.effects, planned.old
        handle = effects.providers.open(goal.urn, goal.type)
        checked = await handle.provider.check_config(
            CheckRequest(goal.urn, old.inputs if old else None, wanted)
        )
        check_failed(goal.urn, checked.failures)
        if not compatible(planned.inputs, checked.inputs):
            raise violated(goal.urn, "its configuration is not what the plan says")
        await effects.providers.configure(handle, checked.inputs)
        choice = planned.decision.choice
        keeps = old is not None and choice in (Choice.SAME, Choice.UPDATE)
        id_ = old.id if keeps and old is not None else str(uuid.uuid4())
        new = goal.as_state(checked.inputs, id_, checked.inputs)
        stamp = now_rfc3339()
        new = replace(
            new,
            created=old.created if old and keeps else stamp,
            modified=old.modified if old and choice is Choice.SAME else stamp,
        )
        op = {
            Choice.SAME: Op.SAME,
            Choice.UPDATE: Op.UPDATE,
            Choice.CREATE: Op.CREATE,
            Choice.REPLACE: Op.CREATE_REPLACEMENT,
        }[choice]
        effects.note(self._step(op, planned, new), new)
        return new

    async def _create(
        self, op: Op, goal: Goal, planned: Planned, inputs: PropertyMap, handle: Handle
    ) -> ResourceState:
        stamp = now_rfc3339()
        subject = replace(goal.as_state(inputs), created=stamp, modified=stamp)
        timeouts = goal.custom_timeouts or CustomTimeouts()

        async def call() -> ResourceState:
            made = await handle.provider.create(CreateRequest(goal.urn, inputs, timeouts.create))
            return replace(subject, id=made.id, outputs=marked(goal, made.outputs, inputs))

        state = await self.effects.perform(self._step(op, planned, subject), subject, call)
        assert state is not None
        return state

    async def _update(
        self, goal: Goal, planned: Planned, inputs: PropertyMap, handle: Handle
    ) -> ResourceState:
        old = planned.old
        assert old is not None
        subject = replace(
            goal.as_state(inputs, old.id, old.outputs),
            created=old.created,
            modified=now_rfc3339(),
            extra=old.extra,
        )
        timeouts = goal.custom_timeouts or CustomTimeouts()

        async def call() -> ResourceState:
            request = UpdateRequest(
                goal.urn, old.id, old.inputs, old.outputs, inputs, timeouts.update, goal.ignore_changes
            )
            changed = await handle.provider.update(request)
            return replace(subject, outputs=marked(goal, changed.outputs, inputs))

        state = await self.effects.perform(self._step(Op.UPDATE, planned, subject), subject, call)
        assert state is not None
        return state

    async def _delete_first(self, planned: Planned) -> None:
        """Delete what cannot outlive the old one, then the old one; each is to be recreated."""
        assert planned.old is not None
        for urn in (*planned.first, planned.old.urn):
            resource = self.prior.live[urn]
            if urn in self.deleted:
                continue
            self.deleted.add(urn)
            step = removal(resource, "replaced, deleted first", Op.DELETE_REPLACED)
            if not await self.effects.delete(step, self.prior, replace(resource, pending_replacement=True)):
                raise Stopping("its old one could not be deleted")

    def _step(self, op: Op, planned: Planned, new: ResourceState) -> Step:
        return Step(
            op=op,
            urn=new.urn,
            type=new.type,
            name=planned.goal.name,
            custom=new.custom,
            parent=new.parent,
            old=planned.old,
            new=new,
            diff_keys=planned.decision.diff_keys,
            replace_keys=planned.decision.replace_keys,
            detailed=planned.decision.detailed,
            reasons=planned.decision.reasons,
            source_position=new.source_position,
        )


def violated(urn: str, what: str) -> TickoverError:
    return TickoverError(
        "plan-violated",
        "Program departs from the plan",
        f"This resource is not as it was planned: {what}. Nothing of it was changed. A program must declare "
        "the same things when it is run twice; then run up again.",
        urn,
        exit_code=Exit.RESOURCE,
    )

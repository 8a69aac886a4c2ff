"""The apply: each registration is answered from its planned decision, with provider calls.

Owns: how a planned decision is carried out once everything is known. Promises: nothing is done that was not
planned, and less where that is enough; inputs are what the plan says where it knew them. Never: orders what
the program orders.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field, replace
from typing import ClassVar

from tickover.engine import wire
from tickover.engine.decide import Choice, Decision, decide
from tickover.engine.effects import Effects, now_rfc3339
from tickover.engine.failures import check_failed
from tickover.engine.goal import Goal
from tickover.engine.monitor import Stopping
from tickover.engine.plan import Op, Step
from tickover.engine.planner import (
    Planned,
    Prior,
    after_same,
    ask_diff,
    checked,
    is_comparable,
    marked,
    random_seed,
    removal,
)
from tickover.engine.provider import CheckRequest, CreateRequest, InvokeResult, UpdateRequest
from tickover.engine.providers import Handle
from tickover.engine.state import CustomTimeouts, ResourceState
from tickover.engine.structdiff import compatible, with_ignored
from tickover.engine.values import PropertyMap, contains_unknown
from tickover.errors import Exit, TickoverError


@dataclass(slots=True)
class Applier:
    """The worker of the apply run. applied: URNs. replaced: URNs whose old object waits for its deletion.

    deleted: deletions ahead of a replacement, by URN; True once done.
    """

    prior: Prior
    planned: dict[str, Planned]
    effects: Effects
    deleted: dict[str, asyncio.Task[bool]] = field(default_factory=dict)
    applied: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)

    keeps_going: ClassVar[bool] = False

    async def handle(self, goal: Goal) -> ResourceState:
        self.effects.check_stop()
        planned = self._planned(goal)
        state = await self._apply(goal, planned)
        self.applied.add(goal.urn)
        return state

    async def outputs(self, goal: Goal, state: ResourceState, outputs: PropertyMap) -> ResourceState:
        new = replace(state, outputs=outputs)
        planned = self._planned(goal)
        self.effects.note(self._step(Op.SAME, replace(planned, old=state), new), new)
        return new

    async def invoke(self, provider: str, token: str, args: PropertyMap) -> InvokeResult:
        return await self.effects.providers.of(provider, token).provider.invoke(token, args)

    def stop(self) -> None:
        """End what still runs on behalf of the program."""
        for task in self.deleted.values():
            task.cancel()

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
                assert old is not None
                if decision.delete_first:
                    await self._delete_first(planned)
                state = await self._create(Op.CREATE_REPLACEMENT, goal, planned, inputs, handle)
                self.replaced.add(old.urn)
                return state

    async def _settled(
        self, goal: Goal, planned: Planned, wanted: PropertyMap, handle: Handle
    ) -> tuple[PropertyMap, Decision]:
        """Inputs now that all is known, and the decision, which may be less than planned, never more."""
        old, decision = planned.old, planned.decision
        kept = old if old is not None and is_comparable(old) else None
        if kept is not None and contains_unknown(planned.inputs) and kept.urn not in self.deleted:
            inputs = await checked(
                handle.provider, goal, wanted, kept, random_seed(goal.urn, None, Choice.SAME)
            )
            actual = decide(kept, goal, await ask_diff(handle.provider, goal, kept, inputs))
            is_bound = handle.is_replaced or decision.replace_keys == ("provider",)
            if actual.effort < decision.effort and not (is_bound and decision.choice is Choice.REPLACE):
                self._compare(planned, inputs)
                return inputs, actual
            if actual.effort > decision.effort:
                raise violated(
                    goal.urn,
                    f"{_PHRASE[decision.choice]} was planned, and now that all is known "
                    f"{_PHRASE[actual.choice]} is needed",
                )
        fresh = decision.choice in (Choice.CREATE, Choice.REPLACE)
        seed = random_seed(goal.urn, old, decision.choice)
        inputs = await checked(handle.provider, goal, wanted, None if fresh else kept, seed)
        self._compare(planned, inputs)
        return inputs, decision

    def _compare(self, planned: Planned, inputs: PropertyMap) -> None:
        if not compatible(planned.inputs, inputs):
            raise violated(planned.goal.urn, "its inputs are not what the plan says")

    def _component(self, goal: Goal, planned: Planned) -> ResourceState:
        if not compatible(planned.inputs, goal.inputs):
            raise violated(goal.urn, "its inputs are not what the plan says")
        choice, stamp = planned.decision.choice, now_rfc3339()
        new = replace(goal.as_state(goal.inputs), created=stamp, modified=stamp)
        if planned.old is not None and not planned.old.custom:
            old = planned.old
            new = replace(
                new, outputs=old.outputs, created=old.created, modified=old.modified, extra=old.extra
            )
        self.effects.note(self._step(_OPS[choice], planned, new), new)
        if choice is Choice.REPLACE and planned.old is not None:
            self.replaced.add(planned.old.urn)
        return new

    async def _provider(self, goal: Goal, planned: Planned, wanted: PropertyMap) -> ResourceState:
        effects, old = self.effects, planned.old
        handle = effects.providers.open(goal.urn, goal.type)
        answer = await handle.check_config(CheckRequest(goal.urn, old.inputs if old else None, wanted))
        check_failed(goal.urn, answer.failures, wanted)
        inputs = wire.remark_secrets(answer.inputs, wanted)
        if not compatible(planned.inputs, inputs):
            raise violated(goal.urn, "its configuration is not what the plan says")
        choice, stamp = planned.decision.choice, now_rfc3339()
        handle.is_replaced = choice is Choice.REPLACE
        await effects.providers.configure(handle, inputs)
        if old is not None and choice in (Choice.SAME, Choice.UPDATE):
            new = replace(
                goal.as_state(inputs, old.id, inputs),
                created=old.created,
                modified=old.modified if choice is Choice.SAME else stamp,
                extra=old.extra,
            )
        else:
            new = replace(goal.as_state(inputs, str(uuid.uuid4()), inputs), created=stamp, modified=stamp)
        effects.note(self._step(_OPS[choice], planned, new), new)
        if choice is Choice.REPLACE and old is not None:
            self.replaced.add(old.urn)
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
        stays = {p.old.urn for p in self.planned.values() if p.old is not None}
        for urn in (*planned.first, planned.old.urn):
            if urn not in self.deleted:
                resource = self.prior.live[urn]
                op = Op.DELETE_REPLACED if urn in stays else Op.DELETE
                step = removal(resource, "replaced, deleted first", op)
                leaves = replace(resource, pending_replacement=True) if urn in stays else None
                self.deleted[urn] = asyncio.create_task(
                    self.effects.delete(step, self.prior.providers, leaves)
                )
            if not await self.deleted[urn]:
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


_OPS = {
    Choice.SAME: Op.SAME,
    Choice.UPDATE: Op.UPDATE,
    Choice.CREATE: Op.CREATE,
    Choice.REPLACE: Op.CREATE_REPLACEMENT,
}
_PHRASE = {
    Choice.SAME: "nothing",
    Choice.UPDATE: "an update",
    Choice.CREATE: "a creation",
    Choice.REPLACE: "a replacement",
}


def violated(urn: str, what: str) -> TickoverError:
    return TickoverError(
        "plan-violated",
        "Program departs from the plan",
        f"This resource is not as it was planned: {what}. Nothing of it was changed. A program must declare "
        "the same things when it is run twice; then run up again.",
        urn,
        exit_code=Exit.RESOURCE,
    )

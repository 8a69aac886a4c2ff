"""Carrying out what was decided about one resource, for real and in rehearsal.

Owns: the provider calls of a step, with hooks around them. Promises: a real call is in the journal before
and after; a rehearsal calls only what a provider says it can rehearse. Never: decides.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from tickover.engine import packageinputs
from tickover.engine.consult import marked
from tickover.engine.decide import Choice, Decision
from tickover.engine.effects import Effects, now_rfc3339
from tickover.engine.failures import Failures
from tickover.engine.goal import Goal
from tickover.engine.hooks import Hooks, has_hooks
from tickover.engine.monitor import Stopping
from tickover.engine.plan import Op, Step
from tickover.engine.provider import (
    CreateRequest,
    InitFailed,
    ReadRequest,
    ReadResult,
    Unimplemented,
    UpdateRequest,
)
from tickover.engine.providers import Handle, Providers
from tickover.engine.state import CustomTimeouts, ResourceState
from tickover.engine.urn import parse_urn
from tickover.engine.values import PropertyMap
from tickover.errors import Exit, TickoverError


@dataclass(frozen=True, slots=True)
class Order:
    """One resource and what is to be done to it. old None: it is new. inputs: checked."""

    goal: Goal
    old: ResourceState | None
    inputs: PropertyMap
    decision: Decision

    def step(self, op: Op, new: ResourceState | None) -> Step:
        shown = new or self.old
        assert shown is not None
        return Step(
            op=op,
            urn=shown.urn,
            type=shown.type,
            name=self.goal.name,
            custom=shown.custom,
            parent=shown.parent,
            old=None if op in (Op.CREATE, Op.IMPORT) else self.old,
            new=new,
            diff_keys=self.decision.diff_keys,
            replace_keys=self.decision.replace_keys,
            detailed=self.decision.detailed,
            reasons=self.decision.reasons,
            source_position=shown.source_position,
        )


class Acts(Protocol):
    """Who carries out. Each answers with the state afterwards."""

    def check_stop(self) -> None: ...
    def renamed(self, old: str, new: str) -> None: ...
    async def same(self, order: Order) -> ResourceState: ...
    async def keep(self, goal: Goal, old: ResourceState) -> ResourceState: ...
    async def component(self, order: Order) -> ResourceState: ...
    async def provider(self, order: Order, handle: Handle) -> ResourceState: ...
    async def create(self, order: Order, handle: Handle) -> ResourceState: ...
    async def update(self, order: Order, handle: Handle) -> ResourceState: ...
    async def read(self, order: Order, id: str, handle: Handle, op: Op) -> ResourceState: ...
    async def outputs(self, order: Order, state: ResourceState, outputs: PropertyMap) -> ResourceState: ...
    async def delete_first(self, steps: tuple[Step, ...]) -> None: ...
    async def hooked(self, order: Order, state: ResourceState) -> None: ...


def same_state(order: Order) -> ResourceState:
    """The state of an unchanged resource: what the program says of it is taken over, the rest stays."""
    goal, old = order.goal, order.old
    assert old is not None
    outputs = marked(goal, old.outputs, order.inputs) if goal.custom else old.outputs
    new = goal.as_state(order.inputs, old.id, outputs)
    return replace(
        new,
        created=old.created,
        modified=old.modified,
        init_errors=old.init_errors,
        extra=_carried(new, old),
    )


def _carried(new: ResourceState, old: ResourceState) -> dict[str, object]:
    """Fields of the state that no program sets stay; a taint is settled by what is done now."""
    kept = {k: v for k, v in old.extra.items() if k in ("refreshBeforeUpdate", "extensionRef", "viewOf")}
    return {**kept, **new.extra}


def _stamped(order: Order, id: str = "", outputs: PropertyMap | None = None) -> ResourceState:
    """The state that a creation or update of this moment leads to."""
    stamp = now_rfc3339()
    new = order.goal.as_state(order.inputs, id, outputs)
    old = order.old
    if old is not None and order.decision.choice in (Choice.SAME, Choice.UPDATE):
        return replace(new, created=old.created, modified=stamp, extra=_carried(new, old))
    return replace(new, created=stamp, modified=stamp)


def provider_op(choice: Choice) -> Op:
    return {
        Choice.SAME: Op.SAME,
        Choice.UPDATE: Op.UPDATE,
        Choice.CREATE: Op.CREATE,
        Choice.REPLACE: Op.CREATE_REPLACEMENT,
    }[choice]


async def read_state(
    order: Order, id: str, handle: Handle, is_import: bool
) -> tuple[ResourceState, tuple[str, ...]]:
    """What the provider has under id, and what is wrong with it. Raises TickoverError if it has nothing."""
    goal = order.goal
    errors: tuple[str, ...] = ()
    given = {} if is_import else goal.inputs
    try:
        found = await handle.provider.read(ReadRequest(goal.urn, id, given, {} if is_import else goal.inputs))
    except Unimplemented as error:
        raise _unreadable(goal, str(error)) from error
    except InitFailed as partial:
        found, errors = ReadResult(partial.id, partial.outputs, partial.inputs), partial.reasons
    if not found.id:
        raise TickoverError(
            "no-such-object",
            "Object does not exist",
            f"Its provider has no object with the id {id!r}.",
            goal.urn,
            exit_code=Exit.RESOURCE,
        )
    if is_import and found.inputs is None:
        raise _unreadable(goal, "its provider does not say what the inputs of a found object are")
    inputs = found.inputs or {} if is_import else goal.inputs
    outputs = marked(goal, found.outputs, inputs)
    state = replace(goal.as_state(inputs, found.id, outputs), init_errors=errors)
    if found.refresh_before_update:
        state = replace(state, extra={**state.extra, "refreshBeforeUpdate": True})
    if not is_import:
        state = replace(state, external=True, property_dependencies={}, protect=False)
    return state, errors


def _unreadable(goal: Goal, why: str) -> TickoverError:
    return TickoverError(
        "not-importable", "Provider cannot read this", why, goal.urn, exit_code=Exit.RESOURCE
    )


@dataclass(slots=True)
class Rehearsal:
    """Acts of a dry run."""

    providers: Providers
    failures: Failures
    hooks: Hooks
    is_stopped: Callable[[], bool]

    def check_stop(self) -> None:
        if self.is_stopped():
            raise Stopping("the operation was cancelled")

    def renamed(self, old: str, new: str) -> None:
        """Nothing is written."""

    async def same(self, order: Order) -> ResourceState:
        return same_state(order)

    async def keep(self, goal: Goal, old: ResourceState) -> ResourceState:
        return old

    async def component(self, order: Order) -> ResourceState:
        old = order.old if order.old is not None and not order.old.custom else None
        return order.goal.as_state(order.inputs, outputs=old.outputs if old else {})

    async def provider(self, order: Order, handle: Handle) -> ResourceState:
        old, choice = order.old, order.decision.choice
        keeps_id = old is not None and choice in (Choice.SAME, Choice.UPDATE)
        id_ = old.id if keeps_id and old else ""
        await self.providers.configure(handle, order.inputs, order.goal.urn, id_)
        return order.goal.as_state(order.inputs, id_, packageinputs.visible(order.inputs))

    async def create(self, order: Order, handle: Handle) -> ResourceState:
        goal, inputs = order.goal, order.inputs
        subject = goal.as_state(inputs)
        await self.hooks.run("BeforeCreate", subject, None, subject)
        outputs: PropertyMap = inputs
        if not handle.is_configured:
            outputs = {}
        elif handle.provider.supports_preview:
            outputs = (await handle.provider.create(CreateRequest(goal.urn, inputs, preview=True))).outputs
        return replace(subject, outputs=marked(goal, outputs, inputs))

    async def update(self, order: Order, handle: Handle) -> ResourceState:
        goal, inputs, old = order.goal, order.inputs, order.old
        assert old is not None
        subject = goal.as_state(inputs, old.id)
        await self.hooks.run("BeforeUpdate", subject, old, subject)
        outputs: PropertyMap = inputs
        if not handle.is_configured:
            outputs = {}
        elif handle.provider.supports_preview:
            request = UpdateRequest(
                goal.urn, old.id, old.inputs, old.outputs, inputs,
                ignore_changes=goal.ignore_changes, preview=True,
            )  # fmt: skip
            outputs = (await handle.provider.update(request)).outputs
        return replace(subject, created=old.created, outputs=marked(goal, outputs, inputs))

    async def read(self, order: Order, id: str, handle: Handle, op: Op) -> ResourceState:
        is_import = op in (Op.IMPORT, Op.IMPORT_REPLACEMENT)
        return (await read_state(order, id, handle, is_import))[0]

    async def outputs(self, order: Order, state: ResourceState, outputs: PropertyMap) -> ResourceState:
        return replace(state, outputs=outputs)

    async def delete_first(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if step.old is not None:
                await self.hooks.run("BeforeDelete", step.old, step.old, None)

    async def hooked(self, order: Order, state: ResourceState) -> None:
        kind = _AFTER.get(order.decision.choice)
        if kind:
            await self.hooks.run(kind, state, order.old, state)


_AFTER = {Choice.CREATE: "AfterCreate", Choice.REPLACE: "AfterCreate", Choice.UPDATE: "AfterUpdate"}


@dataclass(slots=True)
class Performance:
    """Acts of an apply."""

    effects: Effects
    remove_first: Callable[[Step], Awaitable[None]]

    def check_stop(self) -> None:
        self.effects.check_stop()

    def renamed(self, old: str, new: str) -> None:
        self.effects.journal.rename(old, new)

    async def same(self, order: Order) -> ResourceState:
        new = same_state(order)
        self.effects.note(order.step(Op.SAME, new), new)
        return new

    async def keep(self, goal: Goal, old: ResourceState) -> ResourceState:
        step = Order(goal, old, old.inputs, Decision(Choice.SAME)).step(Op.SAME, old)
        self.effects.note(step, old)
        return old

    async def component(self, order: Order) -> ResourceState:
        choice, old = order.decision.choice, order.old
        new = _stamped(order)
        if old is not None and not old.custom:
            new = replace(new, outputs=old.outputs, created=old.created)
            if choice is Choice.SAME:
                new = replace(new, modified=old.modified)
        kind = _BEFORE.get(choice)
        if kind and has_hooks(new, kind):
            await self._hook(order, kind, new)
        self.effects.note(order.step(provider_op(choice), new), new)
        return new

    async def provider(self, order: Order, handle: Handle) -> ResourceState:
        old, choice = order.old, order.decision.choice
        stamp = now_rfc3339()
        shown = packageinputs.visible(order.inputs)
        if old is not None and choice in (Choice.SAME, Choice.UPDATE):
            new = replace(
                order.goal.as_state(order.inputs, old.id, shown),
                created=old.created,
                modified=old.modified if choice is Choice.SAME else stamp,
            )
        else:
            new = order.goal.as_state(order.inputs, str(uuid.uuid4()), shown)
            new = replace(new, created=stamp, modified=stamp)
        configuration = old.inputs if old is not None and choice is Choice.SAME else order.inputs
        await self.effects.providers.configure(handle, configuration, new.urn, new.id)
        self.effects.note(order.step(provider_op(choice), new), new)
        return new

    async def create(self, order: Order, handle: Handle) -> ResourceState:
        goal, inputs = order.goal, order.inputs
        subject = _stamped(order)
        op = Op.CREATE_REPLACEMENT if order.decision.choice is Choice.REPLACE else Op.CREATE
        timeouts = goal.custom_timeouts or CustomTimeouts()
        await self._hook(order, "BeforeCreate", subject)

        async def call() -> ResourceState:
            made = await handle.provider.create(CreateRequest(goal.urn, inputs, timeouts.create))
            if not made.id:
                raise TickoverError(
                    "no-id", "Provider gave no id", "It answered Create without an id.", goal.urn
                )
            state = replace(subject, id=made.id, outputs=marked(goal, made.outputs, inputs))
            return _with_flag(state, made.refresh_before_update)

        state = await self.effects.perform(order.step(op, subject), subject, call, "create")
        assert state is not None
        return state

    async def update(self, order: Order, handle: Handle) -> ResourceState:
        goal, inputs, old = order.goal, order.inputs, order.old
        assert old is not None
        subject = _stamped(order, old.id, old.outputs)
        timeouts = goal.custom_timeouts or CustomTimeouts()
        await self._hook(order, "BeforeUpdate", subject)

        async def call() -> ResourceState:
            request = UpdateRequest(
                goal.urn, old.id, old.inputs, old.outputs, inputs, timeouts.update, goal.ignore_changes
            )
            changed = await handle.provider.update(request)
            state = replace(subject, outputs=marked(goal, changed.outputs, inputs))
            return _with_flag(state, changed.refresh_before_update)

        state = await self.effects.perform(order.step(Op.UPDATE, subject), subject, call, "update")
        assert state is not None
        return state

    async def read(self, order: Order, id: str, handle: Handle, op: Op) -> ResourceState:
        is_import = op in (Op.IMPORT, Op.IMPORT_REPLACEMENT)
        stamp = now_rfc3339()
        subject = replace(order.goal.as_state(order.inputs, id), external=not is_import)

        async def call() -> ResourceState:
            state, _ = await read_state(order, id, handle, is_import)
            return replace(state, created=stamp, modified=stamp) if is_import else state

        state = await self.effects.perform(order.step(op, subject), subject, call)
        assert state is not None
        return state

    async def outputs(self, order: Order, state: ResourceState, outputs: PropertyMap) -> ResourceState:
        new = replace(state, outputs=outputs)
        if new != state:
            self.effects.note(replace(order, old=state).step(Op.SAME, new), new)
        return new

    async def delete_first(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            await self.remove_first(step)

    async def hooked(self, order: Order, state: ResourceState) -> None:
        """The hooks after a step; it is done whatever they say."""
        kind = _AFTER.get(order.decision.choice)
        if kind is None or not has_hooks(state, kind):
            return
        try:
            await self.effects.hooks.run(kind, state, order.old, state)
        except TickoverError as error:
            self.effects.failures.add(state.urn, error)

    async def _hook(self, order: Order, kind: str, subject: ResourceState) -> None:
        if has_hooks(subject, kind):
            await self.effects.hooks.run(
                kind, subject, order.old if kind != "BeforeCreate" else None, subject
            )


_BEFORE = {Choice.CREATE: "BeforeCreate", Choice.REPLACE: "BeforeCreate", Choice.UPDATE: "BeforeUpdate"}


def _with_flag(state: ResourceState, refresh_before_update: bool) -> ResourceState:
    extra = {k: v for k, v in state.extra.items() if k != "refreshBeforeUpdate"}
    return replace(state, extra={**extra, "refreshBeforeUpdate": True} if refresh_before_update else extra)


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

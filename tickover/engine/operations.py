"""preview, up, destroy and refresh: the operations on a stack, from its lock to its saved state.

Owns: the order of an operation's phases. Promises: nothing is changed without a confirmed plan; whatever
happens in between, the state is saved and verified at the end. Never: writes to a terminal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from tickover.engine.effects import Canceller
from tickover.engine.events import PhaseStarted, PlanReady
from tickover.engine.operation import Operation
from tickover.engine.phases import apply_program, plan_program
from tickover.engine.plan import Plan
from tickover.engine.planner import Planner, Prior
from tickover.engine.refresher import refreshed
from tickover.engine.removals import refuse_protected, removals, remove
from tickover.engine.request import Outcome, Request
from tickover.engine.urn import STACK_TYPE
from tickover.engine.values import contains_unknown

Confirm = Callable[[Plan], Awaitable[bool]]

__all__ = ["Canceller", "Outcome", "Request", "destroy", "preview", "refresh", "up"]


async def preview(request: Request) -> Outcome:
    """What `up` would do. Takes no lock and writes nothing."""

    async def body(op: Operation) -> Outcome:
        op.load()
        if request.refresh:
            await _refresh_in_memory(op)
        else:
            await op.settle_leftovers(must=False)
        if op.failures:
            return op.outcome(_nothing(op))
        plan, _, _ = await plan_program(op)
        return op.outcome(plan)

    return await Operation.run(request, "preview", body)


async def up(request: Request, confirm: Confirm) -> Outcome:
    """Make the stack what the program declares."""

    async def body(op: Operation) -> Outcome:
        op.load()
        if request.refresh:
            await _refresh_and_save(op)
        else:
            await op.settle_leftovers(must=True)
        if op.failures:
            return op.outcome(_nothing(op))
        plan, planner, steps = await plan_program(op)
        if op.failures or op.is_blocked or request.canceller.is_cancelled:
            return op.outcome(plan)
        settled = not plan.has_changes and not op.leftovers and not planner_moves(planner)
        if settled:
            return op.outcome(plan, unchanged=True)
        if plan.has_changes and not await confirm(plan):
            return op.outcome(plan, declined=True)
        await apply_program(op, planner, steps)
        return op.finish(plan, "update")

    return await Operation.run(request, "up", body, locks=True)


async def destroy(request: Request, confirm: Confirm) -> Outcome:
    """Remove everything the stack has. The program is not run."""

    async def body(op: Operation) -> Outcome:
        op.load()
        if request.refresh:
            await _refresh_and_save(op)
        if op.failures:
            return op.outcome(_nothing(op))
        prior = Prior.of(op.deployment.resources)
        steps = removals(prior, (), frozenset())
        refuse_protected(steps, op.failures)
        plan = op.plan_of(steps, outputs={}, old_outputs=op.stack_outputs())
        op.plan = plan
        op.emit(PlanReady(op.clock(), plan))
        if op.failures or not steps:
            return op.outcome(plan, unchanged=not steps and not op.failures)
        if not await confirm(plan):
            return op.outcome(plan, declined=True)
        op.emit(PhaseStarted(op.clock(), "deleting"))
        op.drop_all_but_creations()
        await remove(steps, prior, op.open_effects(), request.parallel)
        return op.finish(plan, "destroy")

    return await Operation.run(request, "destroy", body, locks=True)


async def refresh(request: Request, confirm: Confirm, preview_only: bool = False) -> Outcome:
    """Take over what the providers say. preview_only: report the drift and write nothing."""

    async def body(op: Operation) -> Outcome:
        op.load()
        op.emit(PhaseStarted(op.clock(), "refreshing"))
        deployment, steps = await refreshed(op.deployment, op.providers, op.failures, request.parallel)
        outputs = op.stack_outputs()
        op.plan = plan = op.plan_of(steps, outputs=outputs, old_outputs=outputs)
        op.emit(PlanReady(op.clock(), plan))
        if preview_only or op.failures or request.canceller.is_cancelled:
            return op.outcome(plan)
        if plan.has_changes and not await confirm(plan):
            return op.outcome(plan, declined=True)
        op.replace_state(deployment)
        return op.finish(plan, "refresh")

    return await Operation.run(request, "refresh", body, locks=not preview_only)


def _nothing(op: Operation) -> Plan:
    return op.plan_of((), outputs=op.stack_outputs(), old_outputs=op.stack_outputs())


async def _refresh_in_memory(op: Operation) -> None:
    op.emit(PhaseStarted(op.clock(), "refreshing"))
    deployment, _ = await refreshed(op.deployment, op.providers, op.failures, op.request.parallel)
    op.deployment = deployment
    await op.reset_providers()


async def _refresh_and_save(op: Operation) -> None:
    await _refresh_in_memory(op)
    if not op.failures:
        op.replace_state(op.deployment)
        op.leftovers = False


def planner_moves(planner: Planner) -> bool:
    """True if unchanged resources are to be remembered otherwise: renamed, moved, protected, made secret."""
    for planned in planner.planned.values():
        old, new = planned.old, planned.new
        if old is None:
            continue
        same = replace(
            new, created=old.created, modified=old.modified, source_position=old.source_position,
            init_errors=old.init_errors, extra=old.extra, id=old.id, aliases=old.aliases,
            import_id=old.import_id,
            inputs=old.inputs if contains_unknown(new.inputs) else new.inputs,
            outputs=old.outputs
            if planned.goal.type == STACK_TYPE or contains_unknown(new.outputs)
            else new.outputs,
        )  # fmt: skip
        if same != old:
            return True
    return False

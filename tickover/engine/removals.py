"""What is removed at the end: what the program no longer declares, and what was replaced.

Owns: the list and its order. Promises: nothing is deleted before what needs it; a protected resource stops
the plan. Never: looks at the program.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from tickover.engine.decide import Choice
from tickover.engine.effects import Effects
from tickover.engine.failures import Failures
from tickover.engine.graph import delete_order, in_delete_order, walk
from tickover.engine.plan import Op, Step
from tickover.engine.planner import Planned, Prior, protected, removal
from tickover.engine.state import ResourceState


def removals(prior: Prior, planned: Sequence[Planned], seen: Collection[str]) -> tuple[Step, ...]:
    """Steps for what goes after the program's run, in the order of a run of one at a time."""
    replaced = {
        p.old.urn
        for p in planned
        if p.old is not None and p.decision.choice is Choice.REPLACE and not p.decision.delete_first
    }
    going: list[ResourceState] = []
    for resource in prior.order:
        if resource.delete or resource.urn in replaced or resource.urn not in seen:
            going.append(resource)
    return tuple(_removal(r, r.urn in replaced and not r.delete) for r in in_delete_order(going))


def _removal(resource: ResourceState, is_replaced: bool) -> Step:
    if resource.delete or is_replaced:
        reason = "its replacement is up" if is_replaced else "left by an earlier run"
        return removal(replace(resource, delete=True), reason, Op.DELETE_REPLACED)
    if resource.pending_replacement:
        return removal(resource, "its deletion was done", Op.REMOVE_PENDING_REPLACE)
    return removal(resource, "no longer declared")


def refuse_protected(steps: Sequence[Step], failures: Failures) -> None:
    """Report each protected resource that a plan would remove."""
    for step in steps:
        if step.old is not None and step.old.protect and step.op is Op.DELETE:
            failures.add(step.urn, protected(step.old, "would be deleted"))


def still_due(
    steps: Sequence[Step], prior: Prior, replaced: Collection[str], deleted: Collection[str]
) -> tuple[Step, ...]:
    """The planned removals that the apply has left to do. replaced: URNs that it replaced, deleted: that it
    deleted ahead of a replacement."""
    doomed = {(r.urn, r.id) for r in prior.doomed}

    def is_due(step: Step) -> bool:
        if step.old is None or (step.urn, step.old.id) in doomed:
            return step.old is not None
        if step.op is Op.DELETE_REPLACED:
            return step.urn in replaced
        return step.urn not in deleted

    return tuple(step for step in steps if is_due(step))


async def remove(steps: Sequence[Step], prior: Prior, effects: Effects, parallel: int) -> None:
    """Carry the steps out, as parallel as their dependencies allow."""
    resources = [s.old for s in steps if s.old is not None]
    going = {r.urn for r in resources}

    async def act(index: int) -> bool:
        goes_along = resources[index].deleted_with in going
        return await effects.delete(steps[index], prior.providers, only_forget=goes_along)

    await walk(delete_order(resources), act, parallel)

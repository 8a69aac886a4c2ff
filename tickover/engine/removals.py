"""What is removed at the end: what the program no longer declares, and what was replaced.

Owns: the list and its order. Promises: nothing is deleted before what needs it; a protected resource stops
the plan; what an operation is not about stays. Never: looks at the program.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tickover.engine.decide import Choice
from tickover.engine.deployer import Deployer
from tickover.engine.effects import Effects
from tickover.engine.entries import Entry, protected
from tickover.engine.execute import removal
from tickover.engine.failures import Failures
from tickover.engine.graph import delete_order, in_delete_order, walk
from tickover.engine.plan import Op, Step
from tickover.engine.prior import Prior
from tickover.engine.state import ResourceState
from tickover.engine.targeting import Choice as TargetChoice
from tickover.engine.targeting import deletable, goes_along, with_needed

# What is gone already, or was never this stack's own.
_FORGETTING: Final = frozenset({Op.REMOVE_PENDING_REPLACE, Op.DISCARD_REPLACED})


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run made of the prior state. claimed: old URN → entry; kept: old URNs that stay; condemned: old
    URNs that were deleted ahead of a replacement."""

    claimed: Mapping[str, Entry | None] = field(default_factory=dict)
    kept: Collection[str] = frozenset()
    condemned: Collection[str] = frozenset()
    destroys: bool = False

    @classmethod
    def of(cls, deployer: Deployer) -> Seen:
        entries = deployer.entries
        claimed = {old: entries.get(new) for old, new in deployer.claimed.items()}
        return cls(claimed, deployer.kept, deployer.condemned.keys(), not deployer.creates)


def removals(prior: Prior, seen: Seen, choice: TargetChoice, failures: Failures) -> tuple[Step, ...]:
    """Steps for what goes after the program's run, in the order of a run of one at a time."""
    allowed, extra = deletable(choice, prior.order)
    going: list[ResourceState] = []
    ops: dict[tuple[str, str, bool], tuple[Op, str]] = {}
    for resource in prior.order:
        found = _fate(resource, seen)
        if found is None or resource.urn not in allowed:
            continue
        if resource.urn in extra:
            failures.add(resource.urn, goes_along(resource.urn))
        going.append(resource)
        ops[resource.urn, resource.id, resource.delete] = found
    going = _without_needed_by_kept(going, prior, seen)
    steps = []
    for resource in in_delete_order(going):
        op, reason = ops[resource.urn, resource.id, resource.delete]
        if op is Op.DELETE_REPLACED:
            resource = replace(resource, delete=True)
        steps.append(removal(resource, reason, op))
    return tuple(steps)


def _fate(resource: ResourceState, seen: Seen) -> tuple[Op, str] | None:
    """What becomes of an old resource after the program's run; None if it stays."""
    urn = resource.urn
    if resource.delete:
        return Op.DELETE_REPLACED, "left by an earlier run"
    if seen.destroys:
        return Op.DELETE, "destroyed"
    if urn in seen.kept:
        return None
    if urn in seen.claimed:
        entry = seen.claimed[urn]
        if entry is None or urn in seen.condemned or not _is_replaced(entry):
            return None
        if resource.pending_replacement:
            return None
        if resource.external:
            return Op.DISCARD_REPLACED, "it is this stack's own now"
        return Op.DELETE_REPLACED, "its replacement is up"
    if urn in seen.condemned or resource.pending_replacement:
        return Op.REMOVE_PENDING_REPLACE, "its deletion was done"
    return Op.DISCARD if resource.external else Op.DELETE, "no longer declared"


def _is_replaced(entry: Entry) -> bool:
    replacing = (Op.READ_REPLACEMENT, Op.IMPORT_REPLACEMENT)
    return (entry.decision.choice is Choice.REPLACE and not entry.decision.delete_first) or any(
        step.op in replacing for step in entry.steps
    )


def _without_needed_by_kept(going: list[ResourceState], prior: Prior, seen: Seen) -> list[ResourceState]:
    """going without what a resource that stays as it is needs."""
    kept = with_needed(seen.kept, prior.order) if seen.kept and not seen.destroys else set()
    return [r for r in going if r.delete or r.urn not in kept or r.urn in seen.claimed]


def refuse_protected(steps: Sequence[Step], failures: Failures) -> None:
    """Report each protected resource that a plan would remove."""
    for step in steps:
        if step.old is not None and step.old.protect and step.op is Op.DELETE:
            failures.add(step.urn, protected(step.old, "would be deleted"))


def unprotected(steps: Sequence[Step]) -> tuple[Step, ...]:
    """steps without the deletions that protection forbids, and without those of what these need."""
    olds = [s.old for s in steps if s.old is not None]
    stay = {s.urn for s in steps if s.old is not None and s.old.protect and s.op is Op.DELETE}
    if not stay:
        return tuple(steps)
    stay = with_needed(stay, olds[::-1])
    return tuple(s for s in steps if s.op is not Op.DELETE or s.urn not in stay)


async def remove(steps: Sequence[Step], prior: Prior, effects: Effects, parallel: int) -> None:
    """Carry the steps out, as parallel as their dependencies allow."""
    if not steps:
        return
    resources = [s.old for s in steps if s.old is not None]
    going = {r.urn for r in resources}

    async def act(index: int) -> bool:
        step = steps[index]
        forgets = step.op in _FORGETTING or resources[index].deleted_with in going
        return await effects.delete(step, prior.providers, only_forget=forgets)

    await walk(delete_order(resources), act, parallel)

"""What a run made of one registration, and what is wrong with some.

Owns: the record of a registration, the steps that follow from a decision. Promises: pure. Never: acts.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickover.engine.decide import Choice, Decision
from tickover.engine.execute import Order
from tickover.engine.goal import Goal
from tickover.engine.plan import Op, Step
from tickover.engine.state import ResourceState
from tickover.engine.urn import parse_urn
from tickover.errors import Exit, TickoverError


@dataclass(slots=True)
class Entry:
    """What this run made of one registration. steps: in their order; empty while it is at work."""

    goal: Goal
    old: ResourceState | None
    decision: Decision
    new: ResourceState
    steps: tuple[Step, ...]
    order: Order


def steps_of(order: Order, state: ResourceState, first: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps of a decision in the order they run; a replaced resource's deletion is listed only when it
    comes first (else it follows the program)."""
    match order.decision.choice:
        case Choice.SAME:
            return (order.step(Op.SAME, state),)
        case Choice.CREATE:
            return (order.step(Op.CREATE, state),)
        case Choice.UPDATE:
            return (order.step(Op.UPDATE, state),)
        case _ if order.decision.delete_first:
            return (*first, order.step(Op.REPLACE, state), order.step(Op.CREATE_REPLACEMENT, state))
        case _:
            return (order.step(Op.CREATE_REPLACEMENT, state), order.step(Op.REPLACE, state))


def is_import(goal: Goal, old: ResourceState | None) -> bool:
    return old is None or old.external or goal.import_id != (old.import_id or old.id)


def protected(old: ResourceState, what: str) -> TickoverError:
    return TickoverError(
        "protected",
        "Resource is protected",
        f"{parse_urn(old.urn).name} {what}, and it is protected. Remove `protect` from it and run up first.",
        address=old.urn,
        hint=f"tickover state unprotect '{old.urn}'",
    )


def claimed_twice(urn: str, other: str, old: str) -> TickoverError:
    return TickoverError(
        "alias-taken",
        "Two resources of one past",
        f"This resource and {other} both say that they were {old}. Remove one of the aliases.",
        address=urn,
        exit_code=Exit.CONFIGURATION,
    )

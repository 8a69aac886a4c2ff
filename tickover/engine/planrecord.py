"""What a saved plan keeps of a plan: goals, operations, expectations.

Owns: the values of a saved plan, and their making from a plan. Promises: plain frozen data; whatever fields
a goal has are kept. Never: writes (see `savedplan`) or judges (see `plandeparture`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, Final

from tickover.engine.goal import Goal
from tickover.engine.plan import Op, Plan
from tickover.engine.planbinding import Binding
from tickover.engine.urn import STACK_TYPE
from tickover.engine.values import PropertyMap, ResourceReference, Secret, Unknown

# Fields of a goal that are kept under their own names, or say nothing about what is wanted.
_OWN_FIELDS: Final = frozenset(
    {"urn", "type", "name", "custom", "parent", "inputs", "provider", "dependencies"}
    | {"property_dependencies", "source_position"}
)
_VALUES: Final = Secret.__module__


@dataclass(frozen=True, slots=True)
class PlannedGoal:
    """What the program asked for. inputs: as checked by the provider. options: plain, by field of `Goal`."""

    type: str
    name: str
    custom: bool
    parent: str = ""
    inputs: PropertyMap = field(default_factory=dict)
    provider: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: PropertyMap = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedResource:
    """ops: every step planned for the URN, in order. goal: None for what the program does not ask for.

    outputs: what is expected to come out; told, not compared.
    """

    urn: str
    ops: tuple[Op, ...]
    goal: PlannedGoal | None = None
    reasons: tuple[str, ...] = ()
    outputs: PropertyMap = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """created: RFC 3339. options: the flags of the run (targets, refresh, policy packs …) as plain JSON."""

    binding: Binding
    created: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, PlannedResource] = field(default_factory=dict)


def saved_plan(
    plan: Plan,
    goals: Mapping[str, Goal],
    binding: Binding,
    *,
    created: str,
    options: Mapping[str, Any] | None = None,
) -> SavedPlan:
    """plan as it will be kept. goals: by URN, what the program registered in the dry run."""
    ops: dict[str, list[Op]] = {}
    reasons: dict[str, dict[str, None]] = {}
    news: dict[str, Any] = {}
    for step in plan.steps:
        ops.setdefault(step.urn, []).append(step.op)
        reasons.setdefault(step.urn, {}).update(dict.fromkeys(step.reasons))
        if step.new is not None:
            news[step.urn] = step.new
    resources = {}
    for urn in ops:
        goal, new = goals.get(urn), news.get(urn)
        outputs = dict(new.outputs) if new is not None else {}
        if goal is not None and goal.type == STACK_TYPE:
            outputs = dict(plan.outputs)
        resources[urn] = PlannedResource(
            urn=urn,
            ops=tuple(ops[urn]),
            goal=None if goal is None else planned_goal(goal, goal.inputs if new is None else new.inputs),
            reasons=tuple(reasons[urn]),
            outputs=outputs,
        )
    return SavedPlan(binding, created, dict(options or {}), resources)


def planned_goal(goal: Goal, inputs: PropertyMap) -> PlannedGoal:
    """goal as a plan keeps it. inputs: the checked ones."""
    options = {f.name: _plain(getattr(goal, f.name)) for f in fields(goal) if f.name not in _OWN_FIELDS}
    return PlannedGoal(
        type=goal.type,
        name=goal.name,
        custom=goal.custom,
        parent=goal.parent,
        inputs=dict(inputs),
        provider=goal.provider,
        dependencies=tuple(goal.dependencies),
        property_dependencies={k: tuple(v) for k, v in goal.property_dependencies.items()},
        options={k: v for k, v in options.items() if v not in (None, "", [], {})},
    )


def _plain(value: Any) -> Any:
    """A field of a goal as a property value; markers stay."""
    match value:
        case Secret() | Unknown() | ResourceReference():
            return value
        case Enum():
            return value.value
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case frozenset() | set():
            return sorted(_plain(v) for v in value)
        case list() | tuple():
            return [_plain(v) for v in value]
        case _ if is_dataclass(value) and not isinstance(value, type) and type(value).__module__ != _VALUES:
            made = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
            return {k: v for k, v in made.items() if v not in (None, "", [], {}, False, 0.0)}
        case _:
            return value

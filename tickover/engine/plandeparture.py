"""Whether what a run would do is what was planned.

Owns: the comparison of a planned resource with the real one. Promises: pure; says names of properties and
options, never a value; what was unknown in the plan may turn out as it likes. Never: stops a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from tickover.engine.plan import Op
from tickover.engine.planrecord import PlannedGoal, PlannedResource, SavedPlan
from tickover.engine.structdiff import same
from tickover.engine.values import Archive, Asset, ResourceReference, Secret, Unknown, contains_unknown
from tickover.engine.wire import UNKNOWN_STRING

# What may be done where something else was planned: never more than planned.
_REPLACING: Final = frozenset({"replace", "create-replacement", "delete-replaced"})
_LESS: Final[Mapping[str, frozenset[str]]] = {
    "create": frozenset({"same"}),
    "update": frozenset({"same"}),
    **dict.fromkeys(_REPLACING, frozenset({"same", "update"})),
}


class _Missing(Enum):
    MISSING = "missing"


_MISSING: Final = _Missing.MISSING


def departure(planned: PlannedResource | None, op: Op, goal: PlannedGoal | None) -> str | None:
    """Why doing op for goal is not what was planned (property and option names, no values); None if it is.

    planned: the entry of the URN, None if the plan has none. goal: None for a step without a registration.
    """
    if planned is None:
        return f"the plan does not have it, and it would now be {op.value!r}"
    wanted = {o.value for o in planned.ops}
    allowed = wanted.union(*(_LESS.get(o, frozenset()) for o in wanted))
    if op.value not in allowed:
        return f"{'/'.join(o.value for o in planned.ops)} was planned, and it would now be {op.value!r}"
    if goal is None:
        return None
    if planned.goal is None:
        return "the plan does not expect the program to register it"
    return _goal_departure(planned.goal, goal)


def _goal_departure(planned: PlannedGoal, goal: PlannedGoal) -> str | None:
    for name in ("type", "name", "custom", "parent"):
        if getattr(planned, name) != getattr(goal, name):
            return f"its {name} is not the planned one"
    if not _same_provider(planned.provider, goal.provider):
        return "its provider is not the planned one"
    if found := difference(planned.inputs, goal.inputs):
        return f"its input {found}"
    for name in sorted({*planned.options, *goal.options}):
        found = difference(_option(planned, name), _option(goal, name), name)
        if found:
            return f"its option {found}"
    if set(planned.dependencies) != set(goal.dependencies):
        return "its dependencies are not the planned ones"
    for key, urns in planned.property_dependencies.items():
        # What is unknown in a plan may be absent later, and its dependencies with it.
        if key in goal.property_dependencies and set(urns) != set(goal.property_dependencies[key]):
            return f"the dependencies of its input {key} are not the planned ones"
    return None


def _option(goal: PlannedGoal, name: str) -> Any:
    return goal.options.get(name, _MISSING)


def _same_provider(planned: str, actual: str) -> bool:
    if planned == actual:
        return True
    urn, _, id_ = planned.rpartition("::")
    return id_ == UNKNOWN_STRING and actual.rpartition("::")[0] == urn


def unseen(plan: SavedPlan, seen: Iterable[str]) -> tuple[str, ...]:
    """URNs that the plan does something to and that never came up. Call it when the run is over."""
    done = set(seen)
    return tuple(sorted(urn for urn in plan.resources if urn not in done))


# --- values --------------------------------------------------------------------------------------------


def difference(planned: Any, actual: Any, path: str = "", *, is_secret: bool = False) -> str:
    """Where actual is not what was planned and what about it, such as ``tags.a is another one``; empty if
    nothing. is_secret: actual lies in a secret."""
    if isinstance(actual, Secret):
        return difference(planned, actual.value, path, is_secret=True)
    if isinstance(planned, Secret):
        if not is_secret and actual is not _MISSING and not contains_unknown(planned.value):
            return f"{path} is no longer secret"
        return difference(planned.value, actual, path, is_secret=True)
    match planned, actual:
        case Unknown(), _:
            return ""
        case (_Missing(), _Missing()):
            return ""
        case _Missing(), _:
            return f"{path} is set, and was not planned to be"
        case _, _Missing():
            return "" if contains_unknown(planned) else f"{path} is missing"
        case dict(), dict():
            return _in_map(planned, actual, path, is_secret)
        case list(), list():
            return _in_list(planned, actual, path, is_secret)
    return "" if _same_leaf(planned, actual) else f"{path} is another one"


def _in_map(planned: dict[str, Any], actual: dict[str, Any], path: str, is_secret: bool) -> str:
    for key in sorted({*planned, *actual}):
        below = f"{path}.{key}" if path else key
        found = difference(planned.get(key, _MISSING), actual.get(key, _MISSING), below, is_secret=is_secret)
        if found:
            return found
    return ""


def _in_list(planned: list[Any], actual: list[Any], path: str, is_secret: bool) -> str:
    if len(planned) != len(actual):
        return f"{path} has {len(actual)} items instead of {len(planned)}"
    for index, (old, new) in enumerate(zip(planned, actual, strict=True)):
        if found := difference(old, new, f"{path}[{index}]", is_secret=is_secret):
            return found
    return ""


def _same_leaf(planned: Any, actual: Any) -> bool:
    match planned, actual:
        case ResourceReference(), ResourceReference():
            is_known = not isinstance(planned.id, Unknown)
            return planned.urn == actual.urn and (not is_known or planned.id == actual.id)
        case (Asset(), Asset()) | (Archive(), Archive()) if planned.hash and actual.hash:
            return bool(planned.hash == actual.hash)  # the same bytes from wherever the checkout lies
        case _:
            return same(planned, actual)

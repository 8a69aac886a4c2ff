"""What a plan's reserved pools cost per month, before and after it.

Owns: which pools a plan has, with the spec of their functions and their hours. Promises: pure; what cannot
be told stays unknown with the reason and never counts as nothing; prices are those of `tickover.money`, on
one's own host too, where they say what FC would take. Never: bills (the host meters for that).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from tickover.engine.plan import Op, Plan
from tickover.engine.state import ResourceState
from tickover.engine.values import contains_unknown, reveal
from tickover.money import HOURS_PER_MONTH, PriceError, PriceTable, Spec, monthly, plain, price, table_for
from tickover.schedule import ScheduleError, hours_by_target, parse_actions

ALIAS = "tickover:fc:Alias"
FUNCTION = "tickover:fc:Function"
POOL = "tickover:fc:ProvisionConfig"
UNKNOWN = "unknown"
_GONE = frozenset({Op.DELETE, Op.DELETE_REPLACED, Op.DISCARD, Op.REMOVE_PENDING_REPLACE})


@dataclass(frozen=True, slots=True)
class MonthlyMoney:
    """CNY per month: all reserved hours serving, and none of them. None: not known."""

    busy: Decimal | None
    idle: Decimal | None

    def as_json(self) -> dict[str, str]:
        """Decimal strings, or ``unknown``."""
        return {"busy": _shown(self.busy), "idle": _shown(self.idle)}


@dataclass(frozen=True, slots=True)
class PoolCost:
    """One reserved pool. old, new: before and after the plan. reason: why something is unknown."""

    urn: str
    name: str
    function_name: str
    qualifier: str
    instances: int | None
    instance_hours: Decimal | None
    old: MonthlyMoney
    new: MonthlyMoney
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """The pool as JSON, money as strings."""
        return {
            "urn": self.urn,
            "name": self.name,
            "function": self.function_name,
            "qualifier": self.qualifier,
            "instances": self.instances,
            "instance_hours": _shown(self.instance_hours),
            "old": self.old.as_json(),
            "new": self.new.as_json(),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """All pools of a plan. basis: whose prices these are. Totals are priced together, for the tiers."""

    pools: tuple[PoolCost, ...]
    old: MonthlyMoney
    new: MonthlyMoney
    currency: str
    price_table: str
    basis: str = "FC list price"
    hours_per_month: int = HOURS_PER_MONTH

    @property
    def delta(self) -> MonthlyMoney:
        """new minus old; None where either is not known."""
        return MonthlyMoney(_minus(self.new.busy, self.old.busy), _minus(self.new.idle, self.old.idle))

    def as_json(self) -> dict[str, Any]:
        """The estimate as JSON, money as strings."""
        return {
            "currency": self.currency,
            "basis": self.basis,
            "price_table": self.price_table,
            "hours_per_month": self.hours_per_month,
            "old": self.old.as_json(),
            "new": self.new.as_json(),
            "delta": self.delta.as_json(),
            "pools": [pool.as_json() for pool in self.pools],
        }


@dataclass(frozen=True, slots=True)
class _Usage:
    """CU per month of one pool at one time. None: not known, and why."""

    busy: Decimal | None
    idle: Decimal | None
    hours: Decimal | None = None
    instances: int | None = None
    why: str = ""


_NO_POOL = _Usage(Decimal(0), Decimal(0), Decimal(0), 0)


def estimate(plan: Plan, now: datetime | None = None) -> CostEstimate:
    """The cost of all reserved pools in a plan. now: where a timetable's month begins."""
    month = _Month(now or datetime.now(UTC))
    olds, news = _resources(plan)
    old_functions, new_functions = _functions(olds), _functions(news)
    pools: list[PoolCost] = []
    before: list[_Usage] = []
    after: list[_Usage] = []
    for urn in sorted({u for side in (olds, news) for u, r in side.items() if r.type == POOL}):
        was = _usage(olds.get(urn), old_functions, month)
        will = _usage(news.get(urn), new_functions, month)
        before.append(was)
        after.append(will)
        pools.append(_pool_cost(news.get(urn) or olds[urn], was, will, month.table))
    table = month.table
    totals = _money(before, table), _money(after, table)
    return CostEstimate(tuple(pools), *totals, table.currency, table.name)


@dataclass(frozen=True, slots=True)
class _Month:
    """The month that is priced."""

    start: datetime

    @property
    def end(self) -> datetime:
        return self.start + timedelta(hours=HOURS_PER_MONTH)

    @property
    def table(self) -> PriceTable:
        return table_for(self.start.date())


def _pool_cost(shown: ResourceState, was: _Usage, will: _Usage, table: PriceTable) -> PoolCost:
    return PoolCost(
        urn=shown.urn,
        name=shown.urn.rsplit("::", 1)[-1],
        function_name=_text(shown.inputs.get("functionName")),
        qualifier=_text(shown.inputs.get("qualifier")),
        instances=will.instances,
        instance_hours=will.hours,
        old=_money([was], table),
        new=_money([will], table),
        reason=will.why or was.why,
    )


def _resources(plan: Plan) -> tuple[dict[str, ResourceState], dict[str, ResourceState]]:
    """URN → state before, and after the plan. The two halves of a replacement become one."""
    olds: dict[str, ResourceState] = {}
    news: dict[str, ResourceState] = {}
    for step in plan.steps:
        if step.old is not None:
            olds.setdefault(step.urn, step.old)
        if step.new is not None and step.op not in _GONE:
            news[step.urn] = step.new
    return olds, news


@dataclass(frozen=True, slots=True)
class _Functions:
    """The functions of one side, found by name or by URN. divided: (function, alias) with two versions."""

    by_name: Mapping[str, ResourceState]
    by_urn: Mapping[str, ResourceState]
    divided: frozenset[tuple[str, str]]

    def least(self, pool: ResourceState) -> int:
        """The fewest instances that a pool with any has: one of each version."""
        key = _text(pool.inputs.get("functionName")), _text(pool.inputs.get("qualifier"))
        return 2 if key in self.divided else 1

    def of(self, pool: ResourceState) -> ResourceState | None:
        found = self.by_name.get(_text(pool.inputs.get("functionName")))
        if found is not None:
            return found
        depended = pool.property_dependencies.get("functionName", ())
        return next((self.by_urn[urn] for urn in depended if urn in self.by_urn), None)


def _functions(resources: Mapping[str, ResourceState]) -> _Functions:
    found = {urn: r for urn, r in resources.items() if r.type == FUNCTION}
    divided = frozenset(
        (_text(r.inputs.get("functionName")), _text(r.inputs.get("aliasName")))
        for r in resources.values()
        if r.type == ALIAS and _is_divided(reveal(r.inputs).get("additionalVersionWeight"))
    )
    return _Functions({_text(r.inputs.get("functionName")): r for r in found.values()}, found, divided)


def _is_divided(weights: Any) -> bool:
    """Whether a second version gets a share; one that is not known yet counts as one."""
    shares = weights.values() if isinstance(weights, dict) else (weights,)
    return any(contains_unknown(s) or (s is not None and 0 < s < 1) for s in shares)


def _usage(pool: ResourceState | None, functions: _Functions, month: _Month) -> _Usage:
    if pool is None:
        return _NO_POOL
    inputs = reveal(pool.inputs)
    relevant = ("defaultTarget", "target", "scheduledActions", "alwaysAllocateCPU", "alwaysAllocateGPU")
    if any(contains_unknown(inputs.get(name)) for name in relevant):
        return _Usage(None, None, why="the pool's size is not known before it is applied")
    instances = int(inputs.get("defaultTarget") or inputs.get("target") or 0)
    try:
        actions = parse_actions(inputs.get("scheduledActions") or ())
    except ScheduleError as error:
        return _Usage(None, None, instances=instances, why=f"its timetable cannot be read: {error}")
    least = functions.least(pool)
    instances = max(instances, least) if instances else 0
    hours = _raised(hours_by_target(instances, actions, month.start, month.end), least)
    total = sum((target * span for target, span in hours.items()), Fraction(0))
    shown = (Decimal(total.numerator) / total.denominator).quantize(Decimal("0.01"))
    known = _Usage(None, None, shown, instances)
    function = functions.of(pool)
    if function is None:
        return replace(known, why="its function is not part of this stack")
    spec = reveal(function.inputs)
    if any(contains_unknown(spec.get(n)) for n in ("cpu", "memorySize", "diskSize", "gpuConfig")):
        return replace(known, why="its function's size is not known before it is applied")
    if spec.get("cpu") is None or spec.get("memorySize") is None:
        return replace(known, why="its function names no cpu and memorySize")
    return _priced(known, hours, spec, inputs, month.table)


def _raised(hours: Mapping[int, Fraction], least: int) -> dict[int, Fraction]:
    """Hours by target with no pool smaller than least but an empty one."""
    found: dict[int, Fraction] = {}
    for target, span in hours.items():
        size = max(target, least) if target else 0
        found[size] = found.get(size, Fraction(0)) + span
    return found


def _priced(
    known: _Usage,
    hours: Mapping[int, Fraction],
    spec: Mapping[str, Any],
    pool: Mapping[str, Any],
    table: PriceTable,
) -> _Usage:
    gpu = spec.get("gpuConfig") or {}
    gpu_type = str(gpu.get("gpuType") or "")
    switch = "alwaysAllocateGPU" if gpu_type else "alwaysAllocateCPU"
    try:
        size = Spec.from_mb(
            spec["cpu"],
            int(spec["memorySize"]),
            int(spec.get("diskSize") or 512),
            gpu_type,
            int(gpu.get("gpuMemorySize") or 0),
        )
        cost = monthly(size, hours, 0, is_idle_enabled=pool.get(switch, True) is False, table=table)
    except PriceError as error:
        return replace(known, why=str(error))
    return replace(known, busy=cost.busy.cu, idle=cost.idle.cu)


def _money(usages: Sequence[_Usage], table: PriceTable) -> MonthlyMoney:
    """Priced together: the units of a month are what the tiers count."""
    return MonthlyMoney(_total([u.busy for u in usages], table), _total([u.idle for u in usages], table))


def _total(units: Sequence[Decimal | None], table: PriceTable) -> Decimal | None:
    known = [Fraction(u) for u in units if u is not None]
    if len(known) < len(units):
        return None
    return price(table, sum(known, Fraction(0))).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _minus(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    return None if left is None or right is None else left - right


def _shown(value: Decimal | None) -> str:
    return UNKNOWN if value is None else plain(value)


def _text(value: Any) -> str:
    plain = reveal(value)
    return plain if isinstance(plain, str) else ""

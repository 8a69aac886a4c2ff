"""Money as people read it: what a plan costs per month, and the bill.

Owns: the cost lines of a plan and the table of a bill. Promises: the total first, old before new; what is
unknown is called unknown, never 0; money keeps its decimals. Never: multiplies a price.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from tickover.engine.plan import Plan
from tickover.money import plain
from tickover.views.tables import table
from tickover.views.terminal import Look, plural

if TYPE_CHECKING:
    from tickover.account import Account
    from tickover.provider.cost import CostEstimate, PoolCost

Pricer = Callable[[Plan], "CostEstimate"]


def pricer() -> Pricer:
    """The estimate of a plan, made once for all views."""
    made: list[tuple[Plan, CostEstimate]] = []

    def price(plan: Plan) -> CostEstimate:
        from tickover.provider.cost import estimate

        for known, cost in made:
            if known is plan:
                return cost
        made.append((plan, estimate(plan)))
        return made[-1][1]

    return price


def cost_lines(price: Pricer) -> Callable[[Plan, Look], list[str]]:
    """The cost lines of a plan, priced by price."""
    return lambda plan, look: render_cost(price(plan), look)


def render_cost(cost: CostEstimate, look: Look) -> list[str]:
    """What a plan costs; nothing if it has no pool."""
    if not cost.pools:
        return []
    head = (
        f"Cost per month: busy {_moved(cost.old.busy, cost.new.busy, cost.currency, look)}, "
        f"idle {_moved(cost.old.idle, cost.new.idle, cost.currency, look)}"
    )
    note = f"    {cost.basis} ({cost.price_table}), a month is {cost.hours_per_month} hours"
    meaning = "    busy: every reserved hour serves; idle: none does"
    rows = [_pool_row(pool, look) for pool in cost.pools]
    lines = table(("POOL", "INSTANCES", "HOURS", "BUSY", "IDLE"), rows, look, "lrrrr")
    reasons = [f"    {pool.name}: {pool.reason}" for pool in cost.pools if pool.reason]
    return [look.paint(head, "bold"), note, meaning, *(f"    {line}" for line in lines), *reasons]


def _pool_row(pool: PoolCost, look: Look) -> tuple[str, ...]:
    return (
        pool.name,
        "?" if pool.instances is None else str(pool.instances),
        "?" if pool.instance_hours is None else plain(pool.instance_hours),
        _moved(pool.old.busy, pool.new.busy, "", look),
        _moved(pool.old.idle, pool.new.idle, "", look),
    )


def _moved(old: Decimal | None, new: Decimal | None, currency: str, look: Look) -> str:
    """``CNY 12.00``, or ``CNY 10.00 → 12.00 (+20%)`` where it changes."""
    if old == new or (old == 0 and new is not None):
        return f"{currency} {amount(new)}".strip()
    arrow = " → " if look.unicode else " -> "
    percent = ""
    if old and new is not None and currency:
        percent = f" ({(new - old) / old * 100:+.0f}%)"
    return f"{currency} {amount(old)}{arrow}{amount(new)}{percent}".strip()


def amount(value: Decimal | None) -> str:
    """Money to the hundredth with thousands apart, or ``unknown``."""
    return "unknown" if value is None else f"{value:,.2f}"


def render_bill(account: Account, look: Look) -> list[str]:
    """The bill as a table, the total last."""
    period = f"{account.since:%Y-%m-%d %H:%M:%S} to {account.until:%Y-%m-%d %H:%M:%S} {account.zone}"
    head = look.paint(f"Bill from {period}", "bold")
    if not account.functions:
        return [head, "Nothing ran.", *account.notes]
    heads = ("FUNCTION", "STARTING s", "BUSY s", "IDLE s", "CALLS", "CU", account.currency)
    rows = [
        (
            one.name,
            _seconds(one.starting_ns),
            _seconds(one.busy_ns),
            _seconds(one.idle_ns),
            str(one.calls),
            f"{one.cu:,.3f}",
            f"{one.money:,.6f}",
        )
        for one in (*account.functions, account.total)
    ]
    what = plural(len(account.functions), "function")
    note = f"{what}; starting is billed as busy; prices: {', '.join(account.tables)}"
    return [head, *table(heads, rows, look, "lrrrrrr"), note, *account.notes]


def _seconds(ns: int) -> str:
    return f"{Decimal(ns) / 1_000_000_000:,.3f}"

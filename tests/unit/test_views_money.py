"""Money as people read it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from tests.support.cli_golden import check_golden
from tickover.account import Account, FunctionAccount
from tickover.provider.cost import CostEstimate, MonthlyMoney, PoolCost
from tickover.views.money import amount, render_bill, render_cost
from tickover.views.terminal import Look

LOOK = Look()
NONE = MonthlyMoney(Decimal(0), Decimal(0))


def pool(name: str, old: MonthlyMoney, new: MonthlyMoney, reason: str = "") -> PoolCost:
    known = new.busy is not None
    hours = Decimal("720.00") if known else None
    return PoolCost(f"urn::{name}", name, name, "live", 1 if known else None, hours, old, new, reason)


def estimate(*pools: PoolCost, old: MonthlyMoney, new: MonthlyMoney) -> CostEstimate:
    return CostEstimate(pools, old, new, "CNY", "list-cny-2024-08")


def test_cost_of_something_new() -> None:
    new = MonthlyMoney(Decimal("28285.30"), Decimal("4561.92"))
    lines = render_cost(estimate(pool("chat", NONE, new), old=NONE, new=new), LOOK)
    check_golden("view_cost_new.txt", "\n".join(lines) + "\n")


def test_cost_that_moves_and_cost_that_is_unknown() -> None:
    old = MonthlyMoney(Decimal("1000"), Decimal("100"))
    new = MonthlyMoney(Decimal("1080"), Decimal("100"))
    unknown = MonthlyMoney(None, None)
    text = render_cost(estimate(pool("chat", old, new), old=old, new=new), LOOK)
    text += render_cost(
        estimate(
            pool("chat", old, old),
            pool("draw", NONE, unknown, "its function's size is not known before it is applied"),
            old=old,
            new=unknown,
        ),
        Look(unicode=False),
    )
    check_golden("view_cost_changed.txt", "\n".join(text) + "\n")


def test_no_pool_no_cost_lines() -> None:
    assert render_cost(estimate(old=NONE, new=NONE), LOOK) == []


def test_unknown_is_never_shown_as_zero() -> None:
    assert (amount(None), amount(Decimal(0))) == ("unknown", "0.00")


def account(*functions: FunctionAccount) -> Account:
    return Account(
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 11, 23, 1, 15, tzinfo=UTC),
        "UTC",
        tables=("list-cny-2024-08",),
        functions=list(functions),
    )


def test_bill_text() -> None:
    functions = (
        FunctionAccount("chat-dev", 1_203_000_000, 2_530_000_001, 3_600_000_000_000, 7, Decimal("2168.5"),
                        Decimal("0.238535")),
        FunctionAccount("draw-dev", 0, 10**9, 0, 1, Decimal("1.25"), Decimal("0.0001375")),
    )  # fmt: skip
    check_golden("view_bill.txt", "\n".join(render_bill(account(*functions), LOOK)) + "\n")


def test_a_bill_of_nothing() -> None:
    assert render_bill(account(), LOOK)[-1] == "Nothing ran."

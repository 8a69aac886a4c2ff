"""Monthly cost of a pool: the figures that the price page leads to."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from tickover.money import LIST_CNY, PriceError, Spec, always, monthly

ADA = Spec.from_mb(8, 65536, 512, "fc.gpu.ada.1", 49152)


@pytest.mark.parametrize(
    ("reserved_hours", "busy_hours", "idle_enabled", "cu", "amount"),
    [
        (720, 0, False, 257_126_400, "27712.64"),
        (720, 60, True, 59_443_200, "6538.75"),
        (300, 60, True, 35_251_200, "3877.63"),
        (720, 0, True, 41_472_000, "4561.92"),
    ],
    ids=["idle billing off", "2 h a day", "10 h a day reserved, 2 h busy", "no traffic"],
)
def test_one_large_card_for_a_month(reserved_hours, busy_hours, idle_enabled, cu, amount):
    share = Fraction(busy_hours, reserved_hours)
    cost = monthly(ADA, {1: reserved_hours}, share, is_idle_enabled=idle_enabled, table=LIST_CNY)
    assert cost.expected.cu == cu
    assert cost.expected.amount_rounded == Decimal(amount)


def test_busy_and_idle_bracket_what_is_expected():
    cost = monthly(ADA, always(1), Fraction(1, 12), is_idle_enabled=True, table=LIST_CNY)
    assert cost.busy.amount_rounded == Decimal("27712.64")
    assert cost.idle.amount_rounded == Decimal("4561.92")
    assert cost.idle.amount < cost.expected.amount < cost.busy.amount


def test_without_idle_billing_all_three_are_equal():
    cost = monthly(ADA, always(2), 0, is_idle_enabled=False, table=LIST_CNY)
    assert cost.busy == cost.idle == cost.expected


def test_a_timetable_counts_instances_times_hours():
    cost = monthly(ADA, {0: 480, 1: 200, 3: 40}, 1, is_idle_enabled=True, table=LIST_CNY)
    assert cost.instance_hours == 320
    assert cost.busy.cu == 320 * 357_120


def test_an_empty_pool_costs_nothing():
    cost = monthly(ADA, always(0), 1, is_idle_enabled=True, table=LIST_CNY)
    assert (cost.busy.cu, cost.busy.amount) == (0, 0)


def test_other_pools_of_the_account_move_the_tier():
    first = monthly(ADA, always(1), 0, is_idle_enabled=True, table=LIST_CNY)
    later = monthly(ADA, always(1), 0, is_idle_enabled=True, table=LIST_CNY, used_before_cu=200_000_000)
    assert later.idle.amount == first.idle.amount * 10 / 11


def test_json():
    made = monthly(ADA, always(1), Fraction(1, 12), is_idle_enabled=True, table=LIST_CNY).as_json()
    assert made == {
        "busy": {"cu": "257126400", "amount": "27712.64", "amount_rounded": "27712.64", "currency": "CNY"},
        "idle": {"cu": "41472000", "amount": "4561.92", "amount_rounded": "4561.92", "currency": "CNY"},
        "expected": {"cu": "59443200", "amount": "6538.752", "amount_rounded": "6538.75", "currency": "CNY"},
        "instance_hours": "720",
        "busy_fraction": "0.083333333333",
        "idle_enabled": True,
        "price_table": "list-cny-2024-08",
    }


@pytest.mark.parametrize("share", [Fraction(-1, 2), Fraction(3, 2)])
def test_a_share_is_between_nought_and_one(share):
    with pytest.raises(PriceError, match="busy_fraction"):
        monthly(ADA, always(1), share, is_idle_enabled=True, table=LIST_CNY)


@pytest.mark.parametrize("hours", [{-1: 5}, {1: -5}])
def test_negative_hours_are_refused(hours):
    with pytest.raises(PriceError, match="hours_by_target"):
        monthly(ADA, hours, 0, is_idle_enabled=True, table=LIST_CNY)

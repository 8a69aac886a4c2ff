"""Bills: the two published examples, rounding, tiers, and that no line is lost."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cli_golden import check_golden
from tickover.money import (
    CAMPAIGN_CNY,
    HOURLY,
    INTERNATIONAL_USD,
    LIST_CNY,
    TABLES,
    Bill,
    PriceError,
    Spec,
    Usage,
    bill,
    price,
    table_for,
)

HOUR = 3600 * 10**9
SECOND = 10**9
TESLA = Spec.from_mb(8, 32768, 512, "fc.gpu.tesla.1", 16384)
BLACKWELL = Spec.from_mb(8, 65536, 512, "fc.gpu.blackwell.1", 32768)
ADA = Spec.from_mb(8, 65536, 512, "fc.gpu.ada.1", 49152)
SMALL = Spec.from_mb(2, 4096, 512)


def published(spec: Spec) -> Bill:
    """50 hours reserved, 10 of them serving, one million calls."""
    return bill([Usage(spec, busy_ns=10 * HOUR, idle_ns=40 * HOUR, calls=1_000_000)], LIST_CNY)


def by_label(made: Bill) -> dict[str, Decimal]:
    return {line.label: line.cu for line in made.lines}


def test_first_published_example():
    made = published(TESLA)
    assert [int(line.cu) for line in made.lines] == [7_500, 288_000, 172_800, 1_209_600, 460_800, 1_152_000]
    assert made.cu == 3_290_700
    assert made.amount == Decimal("361.977")
    assert made.amount_rounded == Decimal("361.98")


def test_second_published_example():
    made = published(BLACKWELL)
    assert made.cu == 5_272_140
    assert made.amount == Decimal("579.9354")
    assert made.amount_rounded == Decimal("579.94")


@pytest.mark.parametrize(("name", "spec"), [("tesla", TESLA), ("blackwell", BLACKWELL)])
def test_published_examples_as_text(name, spec):
    check_golden(f"bill_{name}.txt", published(spec).as_text() + "\n")


def test_json_has_decimal_text_and_the_currency():
    made = published(TESLA).as_json()
    assert (made["currency"], made["amount"], made["amount_rounded"], made["cu"]) == (
        "CNY",
        "361.977",
        "361.98",
        "3290700",
    )
    assert made["lines"][-1] == {
        "item": "gpu",
        "state": "idle",
        "gpu_type": "fc.gpu.tesla.1",
        "quantity": "2304000",
        "unit": "GB·s",
        "factor": "0.5",
        "cu": "1152000",
    }


def test_starting_is_billed_as_active():
    begun = bill([Usage(ADA, starting_ns=90 * SECOND, busy_ns=10 * SECOND)], LIST_CNY)
    assert begun.lines == bill([Usage(ADA, busy_ns=100 * SECOND)], LIST_CNY).lines


def test_a_second_of_a_large_card_active_and_idle():
    assert bill([Usage(ADA, busy_ns=SECOND)], LIST_CNY).cu == Decimal("99.2")
    assert bill([Usage(ADA, idle_ns=SECOND)], LIST_CNY).cu == 16
    assert bill([Usage(TESLA, busy_ns=SECOND)], LIST_CNY).cu == Decimal("46.4")
    assert bill([Usage(TESLA, idle_ns=SECOND)], LIST_CNY).cu == Decimal("11.2")


def test_without_a_gpu_idle_memory_has_the_full_price_and_idle_cpu_none():
    assert by_label(bill([Usage(SMALL, busy_ns=HOUR, idle_ns=HOUR)], LIST_CNY)) == {
        "cpu, active": 7200,
        "memory, active": 2160,
        "memory, idle": 2160,
    }


def test_disk_beyond_the_free_half_gigabyte_is_billed_in_both_states():
    spec = Spec.from_mb(2, 4096, 10240)
    made = by_label(bill([Usage(spec, busy_ns=SECOND, idle_ns=SECOND)], LIST_CNY))
    assert made["disk, active"] == made["disk, idle"] == Decimal("9.5") * Decimal("0.05")


def test_nothing_used_costs_nothing():
    made = bill([Usage(ADA)], LIST_CNY, rounding=HOURLY)
    assert (made.cu, made.amount, made.lines) == (0, 0, ())
    assert made.as_text().splitlines()[0].split() == ["total", "0", "CU"]


def test_calls_beside_the_usages():
    made = bill([Usage(SMALL, calls=5_000)], LIST_CNY, calls=15_000)
    assert by_label(made) == {"calls": 150}


def test_hourly_rounding_counts_whole_gpu_seconds():
    made = bill([Usage(ADA, busy_ns=SECOND + 1, idle_ns=1)], LIST_CNY, rounding=HOURLY)
    assert by_label(made) == {
        "cpu, active": 16,
        "memory, active": Decimal("19.2"),
        "gpu fc.gpu.ada.1, active": Decimal("163.2"),
        "memory, idle": Decimal("6.4"),
        "gpu fc.gpu.ada.1, idle": Decimal("9.6"),
        "rounding": Decimal("0.6"),
    }
    assert made.cu == 215
    assert made.lines[-1].item == "rounding"


def test_hourly_rounding_counts_cpu_time_as_it_is():
    made = bill([Usage(SMALL, busy_ns=SECOND // 2)], LIST_CNY, rounding=HOURLY)
    assert by_label(made) == {"cpu, active": 1, "memory, active": Decimal("0.3"), "rounding": Decimal("0.7")}


def test_hourly_rounding_takes_a_fen_from_each_hour_used():
    hours = [Usage(SMALL, busy_ns=SECOND), Usage(SMALL), Usage(SMALL, busy_ns=SECOND)]
    made = bill(hours, LIST_CNY, rounding=HOURLY)
    assert (made.cu, made.amount) == (6, Decimal("0.02"))


def test_tiers_are_monthly_totals():
    million = 1_000_000
    assert price(LIST_CNY, 200 * million) == 22_000
    assert price(LIST_CNY, 200 * million + 1) - price(LIST_CNY, 200 * million) == Decimal("0.0001")
    assert price(LIST_CNY, 1001 * million) == 22_000 + 80_000 + 90
    assert price(LIST_CNY, 2 * million, used_before=199 * million) == 110 + 100
    assert price(INTERNATIONAL_USD, 600 * million) == 2_000 + 6_800 + 1_400


def test_a_bill_goes_on_in_the_tier_where_the_month_stands():
    usage = [Usage(ADA, busy_ns=HOUR)]
    first, later = bill(usage, LIST_CNY), bill(usage, LIST_CNY, used_before_cu=200_000_000)
    assert (first.amount, later.amount) == (Decimal("39.2832"), Decimal("35.712"))
    assert first.cu == later.cu == 357_120


@given(
    st.lists(
        st.builds(
            Usage,
            st.sampled_from([TESLA, BLACKWELL, ADA, SMALL, Spec.from_mb(0.35, 512, 10240)]),
            busy_ns=st.integers(0, 10**15),
            idle_ns=st.integers(0, 10**15),
            starting_ns=st.integers(0, 10**12),
            calls=st.integers(0, 10**6),
        ),
        max_size=6,
    ),
    st.integers(0, 10**9),
)
def test_lines_add_up_and_parts_of_a_month_cost_what_the_month_costs(usages, before):
    whole = bill(usages, LIST_CNY, used_before_cu=before)
    assert whole.cu == sum(line.cu for line in whole.lines)
    cu, amount = Decimal(before), Decimal(0)
    for usage in usages:
        part = bill([usage], LIST_CNY, used_before_cu=cu)
        cu += part.cu
        amount += part.amount
    assert (cu - before, amount) == (whole.cu, whole.amount)


@given(st.integers(0, 10**12), st.sampled_from([TESLA, SMALL]))
def test_hourly_is_never_below_exact_and_never_more_than_it_allows(ns, spec):
    usage = [Usage(spec, busy_ns=ns)]
    exact, hourly = bill(usage, LIST_CNY), bill(usage, LIST_CNY, rounding=HOURLY)
    assert exact.cu <= hourly.cu <= exact.cu + Decimal("46.4") + 1
    assert Fraction(hourly.cu).denominator == 1


def test_an_unknown_card_has_no_price():
    spec = Spec.from_mb(8, 32768, 512, "fc.gpu.tesla.9", 16384)
    with pytest.raises(PriceError, match=r"Did you mean fc\.gpu\.tesla\.1"):
        bill([Usage(spec, busy_ns=1)], LIST_CNY)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Spec(Decimal(-1), Decimal(1)),
        lambda: Spec(Decimal("NaN"), Decimal(1)),
        lambda: Spec(Decimal(1), Decimal(1), gpu_type="fc.gpu.ada.1"),
        lambda: Usage(SMALL, busy_ns=-1),
    ],
)
def test_impossible_values_are_refused(make):
    with pytest.raises(PriceError):
        make()


@pytest.mark.parametrize("make", [lambda: Spec(2.0, Decimal(1)), lambda: Usage(SMALL, busy_ns=1.0)])
def test_floats_are_refused(make):
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize(
    ("day", "currency", "campaign", "expected"),
    [
        (date(2026, 8, 27), "CNY", True, CAMPAIGN_CNY),
        (date(2026, 8, 27), "CNY", False, LIST_CNY),
        (date(2026, 8, 28), "CNY", True, LIST_CNY),
        (date(2026, 11, 23), "USD", False, INTERNATIONAL_USD),
    ],
)
def test_the_table_of_a_day(day, currency, campaign, expected):
    assert table_for(day, currency, campaign=campaign) is expected


def test_no_table_before_the_first_and_in_other_currencies():
    with pytest.raises(PriceError, match="no price table in CNY for 2020-01-01"):
        table_for(date(2020, 1, 1))
    with pytest.raises(PriceError, match="currencies are CNY, USD"):
        table_for(date(2026, 11, 23), "EUR")


def test_tables_have_names_of_their_own_and_rising_tiers():
    assert len({t.name for t in TABLES}) == len(TABLES)
    for table in TABLES:
        limits = [t.up_to_cu for t in table.tiers]
        assert limits[-1] is None
        assert limits[:-1] == sorted(limits[:-1])
        assert [t.price for t in table.tiers] == sorted((t.price for t in table.tiers), reverse=True)

"""What a declared pool costs in a month, before anybody has used it.

Owns: `monthly`. Promises: three figures that bracket what will come: always busy, always idle, and the
stated assumption in between. Never: predicts traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from tickover.money.bill import cu_per_second
from tickover.money.exact import decimal, plain, to_fen
from tickover.money.model import PriceError, Spec
from tickover.money.tables import PriceTable, price

# A month is 30 days everywhere in tickover, as in FC's own examples.
HOURS_PER_MONTH: Final = 720
_SECONDS_PER_HOUR: Final = 3600

Hours = Mapping[int, Fraction] | Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """amount is exact; amount_rounded is to the hundredth, half up."""

    cu: Decimal
    amount: Decimal
    currency: str

    @property
    def amount_rounded(self) -> Decimal:
        return to_fen(self.amount)

    def as_json(self) -> dict[str, str]:
        return {
            "cu": plain(self.cu),
            "amount": plain(self.amount),
            "amount_rounded": format(self.amount_rounded, "f"),
            "currency": self.currency,
        }


@dataclass(frozen=True, slots=True)
class MonthlyCost:
    """busy: every reserved hour is busy. idle: none is. expected: busy_fraction of them are.

    Without idle billing a reserved hour costs the same either way, so all three are equal.
    """

    busy: Cost
    idle: Cost
    expected: Cost
    instance_hours: Decimal
    busy_fraction: Decimal
    is_idle_enabled: bool
    table: str

    def as_json(self) -> dict[str, Any]:
        return {
            "busy": self.busy.as_json(),
            "idle": self.idle.as_json(),
            "expected": self.expected.as_json(),
            "instance_hours": plain(self.instance_hours),
            "busy_fraction": plain(self.busy_fraction),
            "idle_enabled": self.is_idle_enabled,
            "price_table": self.table,
        }


def always(instances: int) -> dict[int, Fraction]:
    """The hours of a pool that never changes its size."""
    return {instances: Fraction(HOURS_PER_MONTH)}


def monthly(
    spec: Spec,
    hours_by_target: Hours,
    busy_fraction: Fraction | Decimal | int,
    *,
    is_idle_enabled: bool,
    table: PriceTable,
    used_before_cu: Decimal | int = 0,
) -> MonthlyCost:
    """The cost of one pool.

    hours_by_target: how many hours of the month each number of instances is reserved (see `always`).
    busy_fraction: the share of reserved hours, 0 to 1, in which a request is running.
    """
    share = Fraction(busy_fraction)
    if not 0 <= share <= 1:
        raise PriceError(f"busy_fraction must be between 0 and 1, but is {busy_fraction}.")
    if any(target < 0 or hours < 0 for target, hours in hours_by_target.items()):
        raise PriceError("hours_by_target must not have negative targets or hours.")
    hours = sum((target * Fraction(h) for target, h in hours_by_target.items()), Fraction(0))
    seconds = hours * _SECONDS_PER_HOUR
    active = cu_per_second(spec, table.factors, is_idle=False)
    idle = cu_per_second(spec, table.factors, is_idle=True) if is_idle_enabled else active

    def cost(busy_share: Fraction) -> Cost:
        cu = seconds * (active * busy_share + idle * (1 - busy_share))
        return Cost(decimal(cu), price(table, cu, Fraction(used_before_cu)), table.currency)

    return MonthlyCost(
        busy=cost(Fraction(1)),
        idle=cost(Fraction(0)),
        expected=cost(share),
        instance_hours=decimal(hours),
        busy_fraction=decimal(share),
        is_idle_enabled=is_idle_enabled,
        table=table.name,
    )

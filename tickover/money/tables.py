"""Price tables: factors from resources to CU, and CU to money, each with its dates.

Owns: the published figures. Promises: data only; a table once published here keeps its meaning. Never:
picks a table by itself (`table_for` takes the day).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from tickover.money.exact import decimal
from tickover.money.model import PriceError


@dataclass(frozen=True, slots=True)
class Rate:
    """CU for a unit and second, while active and while idle."""

    active: Decimal
    idle: Decimal


@dataclass(frozen=True, slots=True)
class Factors:
    """CU per vCPU second, GB second and 10,000 calls. gpu: by card type, per GB of its memory."""

    cpu: Rate
    memory_with_gpu: Rate
    memory_without_gpu: Rate
    disk: Rate
    free_disk_gb: Decimal
    calls_per_10k: Decimal
    gpu: Mapping[str, Rate] = field(repr=False)

    def of_gpu(self, gpu_type: str) -> Rate:
        """The rate of a card type, or PriceError."""
        rate = self.gpu.get(gpu_type)
        if rate is None:
            close = difflib.get_close_matches(gpu_type, self.gpu, n=1, cutoff=0.6)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise PriceError(f"{gpu_type!r} has no price; there are {', '.join(self.gpu)}.{hint}")
        return rate


@dataclass(frozen=True, slots=True)
class Tier:
    """A price of one CU up to a monthly total. up_to_cu None: without end."""

    up_to_cu: int | None
    price: Decimal


@dataclass(frozen=True, slots=True)
class PriceTable:
    """valid_from and valid_until are both inclusive; valid_until None: still in force."""

    name: str
    currency: str
    valid_from: date
    valid_until: date | None
    tiers: tuple[Tier, ...]
    factors: Factors = field(repr=False)
    is_campaign: bool = False

    def is_valid(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_until is None or day <= self.valid_until)


def price(table: PriceTable, cu: Fraction | int, used_before: Fraction | int = 0) -> Decimal:
    """The money for cu, of which used_before came earlier in the same month and region."""
    begin, end = Fraction(used_before), Fraction(used_before) + Fraction(cu)
    total, floor = Fraction(0), Fraction(0)
    for tier in table.tiers:
        ceiling = end if tier.up_to_cu is None else Fraction(tier.up_to_cu)
        total += max(Fraction(0), min(end, ceiling) - max(begin, floor)) * Fraction(tier.price)
        floor = ceiling
    return decimal(total)


def table_for(day: date, currency: str = "CNY", *, campaign: bool = False) -> PriceTable:
    """The table in force on a day. campaign: the reduced one, where one is in force."""
    found = [t for t in TABLES if t.currency == currency and t.is_valid(day)]
    for table in found:
        if table.is_campaign == campaign:
            return table
    if found:
        return found[0]
    known = sorted({t.currency for t in TABLES})
    raise PriceError(f"There is no price table in {currency} for {day}; currencies are {', '.join(known)}.")


def _rate(active: str, idle: str) -> Rate:
    return Rate(Decimal(active), Decimal(idle))


def _tiers(*tiers: tuple[int | None, str]) -> tuple[Tier, ...]:
    return tuple(Tier(limit, Decimal(text)) for limit, text in tiers)


_GPU: Final = {
    "fc.gpu.tesla.1": _rate("2.1", "0.5"),
    "fc.gpu.ampere.1": _rate("1.8", "0.3"),
    "fc.gpu.ada.1": _rate("1.7", "0.2"),
    "fc.gpu.ada.2": _rate("1.95", "0.23"),
    "fc.gpu.ada.3": _rate("1.95", "0.23"),
    "fc.gpu.blackwell.1": _rate("2.1", "0.28"),
    "fc.gpu.hopper.1": _rate("2.31", "0.315"),
    "fc.gpu.hopper.2": _rate("2.31", "0.315"),
    "fc.gpu.xpu.1": _rate("1.2", "0.23"),
}


def _factors(gpu: Mapping[str, Rate]) -> Factors:
    return Factors(
        cpu=_rate("1", "0"),
        memory_with_gpu=_rate("0.15", "0.10"),
        memory_without_gpu=_rate("0.15", "0.15"),
        disk=_rate("0.05", "0.05"),
        free_disk_gb=Decimal("0.5"),
        calls_per_10k=Decimal(75),
        gpu=MappingProxyType(dict(gpu)),
    )


_MILLION: Final = 1_000_000
LIST_CNY: Final = PriceTable(
    name="list-cny-2024-08",
    currency="CNY",
    valid_from=date(2024, 8, 27),
    valid_until=None,
    tiers=_tiers((200 * _MILLION, "0.00011"), (1000 * _MILLION, "0.00010"), (None, "0.00009")),
    factors=_factors(_GPU),
)
CAMPAIGN_CNY: Final = PriceTable(
    name="campaign-cny-2024-08",
    currency="CNY",
    valid_from=date(2024, 8, 27),
    valid_until=date(2026, 8, 27),
    tiers=_tiers((200 * _MILLION, "0.000088"), (1000 * _MILLION, "0.000080"), (None, "0.000072")),
    factors=_factors(_GPU),
    is_campaign=True,
)
# The international page has other factors for one card.
INTERNATIONAL_USD: Final = PriceTable(
    name="international-usd-2024-08",
    currency="USD",
    valid_from=date(2024, 8, 27),
    valid_until=None,
    tiers=_tiers((100 * _MILLION, "0.000020"), (500 * _MILLION, "0.000017"), (None, "0.000014")),
    factors=_factors({**_GPU, "fc.gpu.ada.1": _rate("1.5", "0.25")}),
)
TABLES: Final = (LIST_CNY, CAMPAIGN_CNY, INTERNATIONAL_USD)

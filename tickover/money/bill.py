"""The bill: metered time and calls to CU and money.

Owns: `bill` and its lines. Promises: every line is quantity x factor = CU, exactly; the lines add up to the
total. Never: guesses: a card without a price is an error.

Rounding. FC's two published examples multiply whole hours with the factors and the first tier's price,
without any rounding; `EXACT` does the same. What FC writes about granularity is `HOURLY`: each usage is one
function in one hour, time of a GPU function counts in whole seconds rounded up (active and idle apart), CU
are rounded up to a whole number, and an hour with any CU costs at least 0.01.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any, Final

from tickover.money.exact import decimal, plain, to_fen
from tickover.money.model import Spec, Usage
from tickover.money.tables import Factors, PriceTable, Rate, price

_NS_PER_SECOND: Final = 1_000_000_000
_CALLS_UNIT: Final = 10_000
_ITEMS: Final = ("calls", "cpu", "memory", "gpu", "disk", "rounding")
_STATES: Final = ("", "active", "idle")


@dataclass(frozen=True, slots=True)
class Rounding:
    """has_whole_gpu_seconds, has_whole_cu: rounded up for each usage. minimum: money for each usage."""

    has_whole_gpu_seconds: bool = False
    has_whole_cu: bool = False
    minimum: Decimal = Decimal(0)


EXACT: Final = Rounding()
HOURLY: Final = Rounding(has_whole_gpu_seconds=True, has_whole_cu=True, minimum=Decimal("0.01"))


@dataclass(frozen=True, slots=True)
class Line:
    """item: calls, cpu, memory, gpu, disk or rounding. state: active, idle or "" for calls.

    quantity is in unit (vCPU·s, GB·s, 10k calls); cu = quantity x factor.
    """

    item: str
    state: str
    gpu_type: str
    quantity: Decimal
    unit: str
    factor: Decimal
    cu: Decimal

    @property
    def label(self) -> str:
        """For people: ``gpu fc.gpu.ada.1, idle``."""
        name = f"{self.item} {self.gpu_type}" if self.gpu_type else self.item
        return f"{name}, {self.state}" if self.state else name

    def as_json(self) -> dict[str, str]:
        return {
            "item": self.item,
            "state": self.state,
            "gpu_type": self.gpu_type,
            "quantity": plain(self.quantity),
            "unit": self.unit,
            "factor": plain(self.factor),
            "cu": plain(self.cu),
        }


@dataclass(frozen=True, slots=True)
class Bill:
    """amount is exact; amount_rounded is to the hundredth, half up."""

    table: str
    currency: str
    lines: tuple[Line, ...]
    cu: Decimal
    amount: Decimal

    @property
    def amount_rounded(self) -> Decimal:
        return to_fen(self.amount)

    def as_json(self) -> dict[str, Any]:
        """Numbers as decimal text."""
        return {
            "price_table": self.table,
            "currency": self.currency,
            "cu": plain(self.cu),
            "amount": plain(self.amount),
            "amount_rounded": format(self.amount_rounded, "f"),
            "lines": [line.as_json() for line in self.lines],
        }

    def as_text(self) -> str:
        """One line an item, the total last."""
        rows = [
            (
                f"{line.label}",
                f"{plain(line.quantity)} {line.unit}",
                f"x {plain(line.factor)}",
                _grouped(line.cu),
            )
            for line in self.lines
        ]
        rows.append(("total", "", "", _grouped(self.cu)))
        widths = [max(len(row[n]) for row in rows) for n in range(4)]
        body = [
            f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}} CU"
            for a, b, c, d in rows
        ]
        money = (
            f"{self.currency} {plain(self.amount)} ({format(self.amount_rounded, 'f')}), prices {self.table}"
        )
        return "\n".join([*body, money])


@dataclass(frozen=True, slots=True)
class _Part:
    item: str
    state: str
    gpu_type: str
    unit: str
    factor: Decimal
    quantity: Fraction

    @property
    def cu(self) -> Fraction:
        return self.quantity * Fraction(self.factor)

    @property
    def key(self) -> tuple[int, int, str, Decimal]:
        """What belongs into one line, in the order of the lines: calls, active, idle, rounding."""
        group = len(_STATES) if self.item == "rounding" else _STATES.index(self.state)
        return group, _ITEMS.index(self.item), self.gpu_type, self.factor


def bill(
    usages: Iterable[Usage],
    table: PriceTable,
    *,
    calls: int = 0,
    used_before_cu: Decimal | int = 0,
    rounding: Rounding = EXACT,
) -> Bill:
    """The bill of some usages.

    calls: more calls than the usages count themselves. used_before_cu: CU of the same month and region that
    were billed before, for the tiers.
    """
    totals: dict[tuple[int, int, str, Decimal], _Part] = {}
    used, amount = Fraction(used_before_cu), Decimal(0)
    extra = (_calls_part(calls, table.factors),) if calls else ()
    for parts in (extra, *(tuple(_parts(usage, table.factors, rounding)) for usage in usages)):
        cu = sum((part.cu for part in parts), Fraction(0))
        if rounding.has_whole_cu and cu.denominator != 1:
            rest = ceil(cu) - cu
            parts = (*parts, _Part("rounding", "", "", "CU", Decimal(1), rest))
            cu += rest
        for part in parts:
            known = totals.get(part.key)
            quantity = part.quantity + (known.quantity if known else 0)
            totals[part.key] = _Part(part.item, part.state, part.gpu_type, part.unit, part.factor, quantity)
        cost = price(table, cu, used)
        amount += max(cost, rounding.minimum) if cu else cost
        used += cu
    lines = tuple(_line(totals[key]) for key in sorted(totals))
    return Bill(table.name, table.currency, lines, decimal(used - Fraction(used_before_cu)), amount)


def cu_per_second(spec: Spec, factors: Factors, *, is_idle: bool) -> Fraction:
    """What one instance uses in a second."""
    usage = Usage(spec, idle_ns=_NS_PER_SECOND) if is_idle else Usage(spec, busy_ns=_NS_PER_SECOND)
    return sum((part.cu for part in _parts(usage, factors, EXACT)), Fraction(0))


def _parts(usage: Usage, factors: Factors, rounding: Rounding) -> Iterator[_Part]:
    spec = usage.spec
    if usage.calls:
        yield _calls_part(usage.calls, factors)
    memory = factors.memory_with_gpu if spec.gpu_type else factors.memory_without_gpu
    disk = max(Decimal(0), spec.disk_gb - factors.free_disk_gb)
    amounts: list[tuple[str, str, str, Decimal, Rate]] = [
        ("cpu", "", "vCPU·s", spec.cpu, factors.cpu),
        ("memory", "", "GB·s", spec.memory_gb, memory),
        ("disk", "", "GB·s", disk, factors.disk),
    ]
    if spec.gpu_type:
        rate = factors.of_gpu(spec.gpu_type)
        amounts.append(("gpu", spec.gpu_type, "GB·s", spec.gpu_memory_gb, rate))
    for state, ns in (("active", usage.active_ns), ("idle", usage.idle_ns)):
        seconds = Fraction(ns, _NS_PER_SECOND)
        if rounding.has_whole_gpu_seconds and spec.gpu_type:
            seconds = Fraction(ceil(seconds))
        for item, gpu_type, unit, size, rate in amounts:
            factor = rate.active if state == "active" else rate.idle
            if seconds and size and factor:
                yield _Part(item, state, gpu_type, unit, factor, Fraction(size) * seconds)


def _calls_part(calls: int, factors: Factors) -> _Part:
    return _Part("calls", "", "", "10k calls", factors.calls_per_10k, Fraction(calls, _CALLS_UNIT))


def _line(part: _Part) -> Line:
    return Line(
        part.item, part.state, part.gpu_type, decimal(part.quantity), part.unit, part.factor, decimal(part.cu)
    )


def _grouped(value: Decimal) -> str:
    whole, dot, rest = plain(value).partition(".")
    return f"{int(whole):,}{dot}{rest}"

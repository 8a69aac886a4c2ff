"""Metered rows to an account: seconds and money by function.

Owns: which hours belong to which month's prices, and adding up. Promises: pure, exact; the functions' money
adds up to the total; tiers count from the beginning of each month. Never: asks the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from tickover.errors import TickoverError
from tickover.money import Bill, PriceError, Spec, Usage, bill, plain, table_for
from tickover.timewords import Localise, local

_NS = 1_000_000_000
# The host's answer for a window in nanoseconds since the epoch: {"rows": […], "calls": {…}}.
Ask = Callable[[int, int], Mapping[str, Any]]


@dataclass(slots=True)
class FunctionAccount:
    """One function's share. Times in nanoseconds."""

    name: str
    starting_ns: int = 0
    busy_ns: int = 0
    idle_ns: int = 0
    calls: int = 0
    cu: Decimal = Decimal(0)
    money: Decimal = Decimal(0)

    def add(self, other: FunctionAccount) -> None:
        """Take another's figures in."""
        self.starting_ns += other.starting_ns
        self.busy_ns += other.busy_ns
        self.idle_ns += other.idle_ns
        self.calls += other.calls
        self.cu += other.cu
        self.money += other.money

    def as_json(self) -> dict[str, Any]:
        """Seconds and money as decimal strings."""
        return {
            "function": self.name,
            "starting": _seconds(self.starting_ns),
            "busy": _seconds(self.busy_ns),
            "idle": _seconds(self.idle_ns),
            "calls": self.calls,
            "cu": plain(self.cu),
            "cny": plain(self.money),
        }


@dataclass(slots=True)
class Account:
    """The bill of a window. lines: quantity x factor by item; since and until: local, with zone; notes: what
    is not quite as it was asked for."""

    since: datetime
    until: datetime
    zone: str
    currency: str = "CNY"
    tables: tuple[str, ...] = ()
    functions: list[FunctionAccount] = field(default_factory=list)
    lines: list[dict[str, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> FunctionAccount:
        """All functions together."""
        whole = FunctionAccount("total")
        for one in self.functions:
            whole.add(one)
        return whole

    def as_json(self) -> dict[str, Any]:
        """The document of ``bill --json``."""
        total = self.total.as_json()
        del total["function"]
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "time_zone": self.zone,
            "currency": self.currency,
            "price_tables": list(self.tables),
            **total,
            "functions": [one.as_json() for one in self.functions],
            "lines": self.lines,
            "notes": list(self.notes),
        }


def months(
    since: datetime, until: datetime, localise: Localise = local
) -> tuple[tuple[datetime, datetime], ...]:
    """The window cut at the beginnings of months, so that each piece has one month's tiers."""
    pieces = []
    begin = since
    while begin < until:
        following = localise(datetime(begin.year + begin.month // 12, begin.month % 12 + 1, 1))
        end = min(until, following)
        pieces.append((begin, end))
        begin = end
    return tuple(pieces)


def reckon(since: datetime, until: datetime, ask: Ask, localise: Localise = local) -> Account:
    """The account of a window. Raises TickoverError for what has no price."""
    answer = ask(_ns(since), _ns(until))
    rows = answer["rows"]
    notes: list[str] = []
    since, until = _told(answer, "since", since, notes), _told(answer, "until", until, notes)
    account = Account(since, until, until.tzname() or "", notes=tuple(notes))
    if not rows:
        return account
    # A window from long ago would else be cut into months in which nothing ran.
    begin = max(since, datetime.fromtimestamp(min(int(r["start_ns"]) for r in rows) // _NS, since.tzinfo))
    functions: dict[str, FunctionAccount] = {}
    bills: list[Bill] = []
    for start, end in months(begin, until, localise):
        month = localise(datetime(start.year, start.month, 1))
        before = (
            ask(_ns(month), _ns(start)) if start > month and start == since else {"rows": [], "calls": {}}
        )
        used = sum((b.cu for _, b in _bills(before, month, Decimal(0))), Decimal(0))
        for share, made in _bills(ask(_ns(start), _ns(end)), month, used):
            functions.setdefault(share.name, FunctionAccount(share.name)).add(share)
            bills.append(made)
    account.functions = [functions[name] for name in sorted(functions)]
    account.tables = tuple(sorted({b.table for b in bills}))
    account.lines = _lines(bills)
    return account


def _told(answer: Mapping[str, Any], name: str, asked: datetime, notes: list[str]) -> datetime:
    """The border of the window that was answered for; a note where that is another second."""
    told = int(answer.get(f"{name}_ns", _ns(asked)))
    if told == _ns(asked):
        return asked
    border = datetime.fromtimestamp(told // _NS, asked.tzinfo)
    if border != asked.replace(microsecond=0):
        notes.append(
            f"{name} {asked:%H:%M:%S} was moved to {border:%H:%M:%S}: "
            "what is older than two hours is kept by the quarter of an hour."
        )
    return border


def _bills(answer: Mapping[str, Any], month: datetime, used: Decimal) -> list[tuple[FunctionAccount, Bill]]:
    """A bill a function, in their order, each after the one before it in the month's tiers."""
    table = table_for(month.date())
    calls: Mapping[str, int] = answer["calls"]
    by_function: dict[str, list[Mapping[str, Any]]] = {}
    for row in answer["rows"]:
        by_function.setdefault(str(row["function_name"]), []).append(row)
    made = []
    for name in sorted(by_function):
        share = FunctionAccount(name, calls=int(calls.get(name, 0)))
        try:
            usages = [_usage(row, share) for row in by_function[name]]
            one = bill(usages, table, calls=share.calls, used_before_cu=used)
        except PriceError as error:
            raise TickoverError("no-price", "Usage has no price", str(error), address=name) from error
        share.cu, share.money = one.cu, one.amount
        used += one.cu
        made.append((share, one))
    return made


def _usage(row: Mapping[str, Any], share: FunctionAccount) -> Usage:
    """A row as priced time; its seconds are added to the function's share."""
    ns = int(row["duration_ns"])
    kind = str(row["billing_class"])
    starting, busy, idle = (ns if kind == name else 0 for name in ("starting", "busy", "idle"))
    share.starting_ns += starting
    share.busy_ns += busy
    share.idle_ns += idle
    spec = Spec.from_mb(
        row["cpu"],
        int(row["memory_mb"]),
        int(row["disk_mb"]),
        str(row["gpu_type"]),
        int(row["gpu_memory_mb"]) if row["gpu_type"] else 0,
    )
    return Usage(spec, busy_ns=busy, idle_ns=idle, starting_ns=starting)


def _lines(bills: Sequence[Bill]) -> list[dict[str, str]]:
    """The items of all bills, equal ones added."""
    added: dict[tuple[str, ...], tuple[Decimal, Decimal]] = {}
    for line in (line for one in bills for line in one.lines):
        key = (line.item, line.state, line.gpu_type, line.unit, plain(line.factor))
        quantity, cu = added.get(key, (Decimal(0), Decimal(0)))
        added[key] = (quantity + line.quantity, cu + line.cu)
    names = ("item", "state", "gpu_type", "unit", "factor")
    return [
        {**dict(zip(names, key, strict=True)), "quantity": plain(quantity), "cu": plain(cu)}
        for key, (quantity, cu) in _sorted(added.items())
    ]


def _sorted(
    items: Iterable[tuple[tuple[str, ...], tuple[Decimal, Decimal]]],
) -> list[tuple[tuple[str, ...], tuple[Decimal, Decimal]]]:
    return sorted(items, key=lambda item: item[0])


def _ns(moment: datetime) -> int:
    return int(moment.replace(microsecond=0).timestamp()) * _NS + moment.microsecond * 1000


def _seconds(ns: int) -> str:
    return plain(Decimal(ns) / _NS)

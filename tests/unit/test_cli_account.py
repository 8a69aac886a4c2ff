"""Metered rows to an account, and the words for its window."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.account import months, reckon
from tickover.errors import ConfigError, TickoverError
from tickover.timewords import parse_when
from tickover.views.money import render_bill
from tickover.views.terminal import Look

NS = 10**9
NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)


def utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("1h", NOW - timedelta(hours=1)),
        ("90m", NOW - timedelta(minutes=90)),
        ("7d ago", NOW - timedelta(days=7)),
        ("today", datetime(2026, 11, 23, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 22, tzinfo=UTC)),
        ("this week", datetime(2026, 11, 23, tzinfo=UTC)),
        ("this  month", datetime(2026, 11, 1, tzinfo=UTC)),
        ("last month", datetime(2026, 10, 1, tzinfo=UTC)),
        ("2026-11-02", datetime(2026, 11, 2, tzinfo=UTC)),
        ("2026-11-02T08:00+08:00", datetime(2026, 11, 2, tzinfo=UTC)),
    ],
)
def test_times_as_people_write_them(text: str, expected: datetime) -> None:
    assert parse_when(text, NOW, "--since", utc) == expected


@pytest.mark.parametrize("text", ["", "soon", "1y", "-1h", "2026-13-01", "h"])
def test_what_is_no_time_lists_what_is(text: str) -> None:
    with pytest.raises(ConfigError, match="this month"):
        parse_when(text, NOW, "--since", utc)


def test_a_window_is_cut_at_months() -> None:
    begin, end = datetime(2026, 11, 20, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)
    assert months(begin, end, utc) == (
        (begin, datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2027, 1, 1, tzinfo=UTC), end),
    )


@given(
    st.datetimes(datetime(2024, 9, 1), datetime(2030, 1, 1)), st.integers(1, 10**8), st.integers(-720, 720)
)
def test_the_pieces_of_a_window_are_the_window(begin: datetime, seconds: int, offset: int) -> None:
    zone = timezone(timedelta(minutes=offset))
    since = begin.replace(tzinfo=zone)
    until = since + timedelta(seconds=seconds)
    pieces = months(since, until, lambda naive: naive.replace(tzinfo=zone))
    assert (pieces[0][0], pieces[-1][1]) == (since, until)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
    assert all(a < b for a, b in pieces)


class Meter:
    """A host's usage: rows clipped to the window asked for."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows

    def __call__(self, since_ns: int, until_ns: int) -> Mapping[str, Any]:
        found = []
        for row in self.rows:
            start, end = max(row["start_ns"], since_ns), min(row["end_ns"], until_ns)
            if start < end:
                found.append({**row, "start_ns": start, "end_ns": end, "duration_ns": end - start})
        return {"rows": found, "calls": {"chat-dev": 2} if found else {}}


def row(kind: str, start: datetime, seconds: int, **more: Any) -> dict[str, Any]:
    begin = int(start.timestamp()) * NS
    return {
        "function_name": "chat-dev", "instance_id": "i", "billing_class": kind, "start_ns": begin,
        "end_ns": begin + seconds * NS, "duration_ns": seconds * NS, "cpu": 8.0, "memory_mb": 65536,
        "disk_mb": 512, "gpu_type": "fc.gpu.ada.1", "gpu_memory_mb": 49152, **more,
    }  # fmt: skip


class Coarse(Meter):
    """A host that has kept what is old by the quarter of an hour."""

    def __call__(self, since_ns: int, until_ns: int) -> Mapping[str, Any]:
        window = {"since_ns": since_ns // (900 * NS) * 900 * NS, "until_ns": until_ns}
        return {**super().__call__(window["since_ns"], until_ns), **window}


def test_a_window_that_the_host_has_moved_is_told() -> None:
    begin = datetime(2026, 11, 2, 10, tzinfo=UTC)
    meter = Coarse(row("idle", begin, 1800))
    for minute, moved in ((0, False), (15, False), (20, True)):
        account = reckon(begin + timedelta(minutes=minute), NOW, meter, utc)
        assert account.since == begin + timedelta(minutes=minute // 15 * 15)
        assert account.total.idle_ns == (30 - minute // 15 * 15) * 60 * NS
        assert bool(account.notes) is moved
        assert account.as_json()["notes"] == list(account.notes)
    assert account.notes[0].startswith("since 10:20:00 was moved to 10:15:00: what is older than two hours")
    assert render_bill(account, Look())[-1] == account.notes[0]
    nothing = reckon(begin + timedelta(hours=5, minutes=1), NOW, meter, utc)
    assert render_bill(nothing, Look())[-1].startswith("since 15:01:00 was moved to 15:00:00")


def test_less_than_a_second_is_not_worth_a_note() -> None:
    since = datetime(2026, 11, 2, 10, 0, 0, 500_000, tzinfo=UTC)
    account = reckon(since, NOW, Coarse(row("idle", since, 1800)), utc)
    assert (account.since, account.notes) == (since.replace(microsecond=0), ())


def test_seconds_and_money_by_class() -> None:
    start = datetime(2026, 11, 2, tzinfo=UTC)
    meter = Meter(
        row("starting", start, 10),
        row("busy", start + timedelta(hours=1), 20),
        row("idle", start + timedelta(hours=2), 3600),
    )
    made = reckon(datetime(2026, 11, 1, tzinfo=UTC), NOW, meter, utc).as_json()
    assert (made["starting"], made["busy"], made["idle"], made["calls"]) == ("10", "20", "3600", 2)
    # 99.2 CU/s active, 16.0 CU/s idle, 75 CU for 10,000 calls; 0.00011 a CU
    cu = Decimal("99.2") * 30 + Decimal(16) * 3600 + Decimal(75) / 5000
    assert Decimal(made["cu"]) == cu
    assert Decimal(made["cny"]) == cu * Decimal("0.00011")
    assert sum(Decimal(line["cu"]) for line in made["lines"]) == cu
    assert made["time_zone"] == "UTC"


def test_tiers_count_from_the_beginning_of_the_month_even_if_the_window_does_not() -> None:
    busy = row("busy", datetime(2026, 11, 1, tzinfo=UTC), 20 * 86400)
    month = reckon(datetime(2026, 11, 1, tzinfo=UTC), NOW, Meter(busy), utc).total
    middle = datetime(2026, 11, 11, tzinfo=UTC)
    first = reckon(datetime(2026, 11, 1, tzinfo=UTC), middle, Meter(busy), utc).total
    second = reckon(middle, NOW, Meter(busy), utc).total
    used = Decimal("99.2") * 20 * 86400
    assert used < 200_000_000, "all in the first tier, so the parts add up but for the calls counted twice"
    calls = Decimal("0.015") * Decimal("0.00011")
    assert first.money + second.money == month.money + calls


def test_a_month_of_many_cards_reaches_the_second_tier() -> None:
    rows = [row("busy", datetime(2026, 11, 1, tzinfo=UTC), 20 * 86400, instance_id=str(i)) for i in range(2)]
    cu = Decimal("99.2") * 40 * 86400 + Decimal("0.015")
    money = reckon(datetime(2026, 11, 1, tzinfo=UTC), NOW, Meter(*rows), utc).total.money
    tier = Decimal(200_000_000)
    assert money == tier * Decimal("0.00011") + (cu - tier) * Decimal("0.0001")
    later = datetime(2026, 11, 20, tzinfo=UTC)
    rest = reckon(later, NOW, Meter(*rows), utc).total
    assert rest.money == rest.cu * Decimal("0.0001"), "the first tier is used up before the window begins"


def test_functions_add_up_to_the_total() -> None:
    start = datetime(2026, 10, 31, 23, tzinfo=UTC)
    meter = Meter(row("busy", start, 7200), row("idle", start, 7200, function_name="draw-dev", cpu=2.0))
    made = reckon(datetime(2026, 10, 1, tzinfo=UTC), NOW, meter, utc)
    assert [f.name for f in made.functions] == ["chat-dev", "draw-dev"]
    assert sum((f.money for f in made.functions), Decimal(0)) == made.total.money
    assert made.total.busy_ns == 7200 * NS


def test_nothing_ran() -> None:
    made = reckon(datetime(2026, 1, 1, tzinfo=UTC), NOW, Meter(), utc).as_json()
    assert (made["busy"], made["cny"], made["lines"]) == ("0", "0", [])


def test_a_card_without_a_price_is_named() -> None:
    meter = Meter(row("busy", datetime(2026, 11, 2, tzinfo=UTC), 1, gpu_type="fc.gpu.ada.9"))
    with pytest.raises(TickoverError, match=r"fc\.gpu\.ada\.9.*Did you mean"):
        reckon(datetime(2026, 11, 1, tzinfo=UTC), NOW, meter, utc)

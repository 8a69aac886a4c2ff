"""The grammar of at(...) and cron(...), its firings, and croniter as an independent judge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.schedule import At, Cron, ScheduleError, firings, last_firing, next_firing, parse

DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
FAR = timedelta(days=20000)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def local(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def fields(text: str) -> Cron:
    parsed = parse(f"cron({text})")
    assert isinstance(parsed, Cron)
    return parsed


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("0 5/20 9 * * *", "minutes", {5, 25, 45}),
        ("0 */20 9 * * *", "minutes", {0, 20, 40}),
        ("0 1,3,7-9 9 * * *", "minutes", {1, 3, 7, 8, 9}),
        ("0 0 20/2 * * *", "hours", {20, 22}),
        ("0 0 9 1/10 * ?", "days_of_month", {1, 11, 21, 31}),
        ("0 0 9 ? JAN-MAR,12 *", "months", {1, 2, 3, 12}),
        ("0 0 9 ? * 1-5", "days_of_week", {1, 2, 3, 4, 5}),
        ("0 0 9 ? * SAT,SUN", "days_of_week", {6, 7}),
        ("0 0 9 * * ?", "days_of_week", {1, 2, 3, 4, 5, 6, 7}),
    ],
)
def test_fields(text, name, values):
    assert getattr(fields(text), name) == values


@pytest.mark.parametrize(
    ("text", "field", "position"),
    [
        ("* 0 9 * * *", "seconds", 5),
        ("0,30 0 9 * * *", "seconds", 5),
        ("60 0 9 * * *", "seconds", 5),
        ("0 60 9 * * *", "minutes", 7),
        ("0 ? 9 * * *", "minutes", 7),
        ("0 -5 9 * * *", "minutes", 7),
        ("0 1,,2 9 * * *", "minutes", 9),
        ("0 */0 9 * * *", "minutes", 7),
        ("0 5/ 9 * * *", "minutes", 7),
        ("0 0 24 * * *", "hours", 9),
        ("0 0 17-9 * * *", "hours", 9),
        ("0 0 9 L * *", "day-of-month", 11),
        ("0 0 9 0 * *", "day-of-month", 11),
        ("0 0 9 ?/2 * *", "day-of-month", 11),
        ("0 0 9 1,? * *", "day-of-month", 11),
        ("0 0 9 31 2,4 ?", "day-of-month", 11),
        ("0 0 9 * ? *", "month", 13),
        ("0 0 9 * FOO *", "month", 13),
        ("0 0 9 * 13 *", "month", 13),
        ("0 0 9 * * 0", "day-of-week", 15),
        ("0 0 9 * * 8", "day-of-week", 15),
        ("0 0 9 * * MON/2", "day-of-week", 15),
        ("0 0 9 * * MON#1", "day-of-week", 15),
        ("0 0 9 ? * ?", "day-of-week", 15),
        ("0 ٣ 9 * * *", "minutes", 7),
        ("0 9 * * *", "cron", 5),
        ("0 0 9 * * * 2026", "cron", 5),
        ("", "cron", 5),
    ],
)
def test_bad_cron_names_field_and_position(text, field, position):
    with pytest.raises(ScheduleError) as caught:
        parse(f"cron({text})")
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 0 9 * * *",
        "rate(5 minutes)",
        "CRON(0 0 9 * * *)",
        "cron 0 0 9 * * *",
        "cron(0 0 9 * * *",
        "@every 4m",
    ],
)
def test_what_is_no_expression(text):
    with pytest.raises(ScheduleError, match="is neither at"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2026-06-09", "2026-06-09T10:00:00Z", "2026-02-30T10:00:00"]
)
def test_bad_at(text):
    with pytest.raises(ScheduleError) as caught:
        parse(f"at({text})")
    assert caught.value.field == "at"


def test_errors_say_what_is_allowed():
    with pytest.raises(ScheduleError) as caught:
        parse("cron(0 0 9 * * FRY)")
    assert caught.value.message == (
        "day-of-week cannot be 'FRY': day-of-week takes 1 to 7 (or MON to SUN) and , - * ?."
    )
    with pytest.raises(ScheduleError, match="needs the seconds in front"):
        parse("cron(0 9 * * *)")


def test_text_forms():
    assert str(parse(" at( 2026-06-09T10:00:00 ) ")) == "at(2026-06-09T10:00:00)"
    assert str(parse("cron( 0 0  9 * * MON )")) == "cron(0 0 9 * * MON)"


def test_at_fires_once():
    expression = parse("at(2026-06-09T10:00:00)")
    zone = ZoneInfo("Asia/Shanghai")
    fires = utc(2026, 6, 9, 2)
    assert isinstance(expression, At)
    assert next_firing(expression, zone, fires - timedelta(seconds=1)) == fires
    assert next_firing(expression, zone, fires) is None
    assert last_firing(expression, zone, fires) == fires
    assert last_firing(expression, zone, fires - timedelta(seconds=1)) is None


def test_29_february():
    expression = parse("cron(0 0 0 29 2 ?)")
    assert next_firing(expression, UTC, utc(2096, 3, 1)) == utc(2104, 2, 29)
    assert last_firing(expression, UTC, utc(2103, 1, 1)) == utc(2096, 2, 29)


def test_either_day_matches_when_both_are_restricted():
    expression = parse("cron(0 0 0 13 * FRI)")
    days = [f.day for f in islice(firings(expression, UTC, utc(2026, 11, 1), utc(2026, 12, 1)), 9)]
    assert days == [6, 13, 20, 27]
    expression = parse("cron(0 0 0 14 * FRI)")
    days = [f.day for f in firings(expression, UTC, utc(2026, 11, 1), utc(2026, 12, 1))]
    assert days == [6, 13, 14, 20, 27]


def test_the_ends_of_the_calendar_end_the_search():
    expression = parse("cron(0 0 0 1 1 ?)")
    assert next_firing(expression, UTC, utc(9988, 6, 1)) == utc(9989, 1, 1)
    assert next_firing(expression, UTC, utc(9990, 6, 1)) is None
    assert last_firing(parse("cron(0 0 0 29 2 ?)"), UTC, utc(3, 1, 1)) is None


@pytest.mark.parametrize(
    ("zone", "text", "after", "expected"),
    [
        # 2026-03-08 02:00 to 03:00 does not exist in New York.
        ("America/New_York", "cron(0 30 2 * * *)", "2026-03-07T12:00:00", ["2026-03-09T06:30:00"]),
        (
            "America/New_York",
            "cron(0 0 * * * *)",
            "2026-03-08T00:30:00",
            ["2026-03-08T06:00:00", "2026-03-08T07:00:00", "2026-03-08T08:00:00"],
        ),
        # 2026-11-01 01:00 to 02:00 comes twice.
        (
            "America/New_York",
            "cron(0 30 1 * * *)",
            "2026-11-01T00:00:00",
            ["2026-11-01T05:30:00", "2026-11-01T06:30:00", "2026-11-02T06:30:00"],
        ),
        # Midnight does not exist on 2026-09-06 in Chile.
        ("America/Santiago", "cron(0 0 0 * * *)", "2026-09-05T12:00:00", ["2026-09-07T03:00:00"]),
        # Half-hour shift of Lord Howe: 2026-04-05 02:00 falls back to 01:30.
        (
            "Australia/Lord_Howe",
            "cron(0 45 1 * * *)",
            "2026-04-05T00:00:00",
            ["2026-04-04T14:45:00", "2026-04-04T15:15:00"],
        ),
    ],
)
def test_daylight_saving(zone, text, after, expected):
    expression, tz = parse(text), ZoneInfo(zone)
    begin = local(after, zone)
    seen = list(islice(firings(expression, tz, begin, begin + FAR), len(expected)))
    assert [f.replace(tzinfo=None).isoformat() for f in seen] == expected
    for fires in seen:
        assert last_firing(expression, tz, fires) == fires
        assert next_firing(expression, tz, fires - timedelta(microseconds=1)) == fires


def test_at_in_a_skipped_hour_fires_after_the_skip():
    expression = parse("at(2026-03-08T02:30:00)")
    fires = next_firing(expression, ZoneInfo("America/New_York"), utc(2026, 3, 1))
    assert fires == utc(2026, 3, 8, 7, 30)  # 03:30 on the clock


def test_moments_need_a_zone():
    with pytest.raises(ValueError, match="aware"):
        next_firing(parse("cron(0 0 9 * * *)"), UTC, datetime(2026, 1, 1))


def pairs(low: int, high: int):
    """Two different numbers in order; croniter takes MON-MON for the whole week."""
    return st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True).map(sorted)


def number_field(low: int, high: int):
    value = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        value.map(str),
        pairs(low, high).map(lambda p: f"{p[0]}-{p[1]}"),
        st.lists(value, min_size=2, max_size=4, unique=True).map(lambda v: ",".join(map(str, v))),
        st.integers(1, 12).map(lambda n: f"*/{n}"),
        st.tuples(value, st.integers(1, 12)).map(lambda p: f"{p[0]}/{p[1]}"),
    )


def spelt_out(word: str, top: int) -> str:
    """``20/2`` as a list: croniter reads n/m differently."""
    base, slash, step = word.partition("/")
    if not slash or base == "*":
        return word
    return ",".join(str(n) for n in range(int(base), top + 1, int(step)))


def weekdays():
    one = st.sampled_from(DAYS)
    two = pairs(0, 6).map(lambda p: f"{DAYS[p[0]]}-{DAYS[p[1]]}")
    return st.one_of(st.just("*"), st.just("?"), one, two)


@settings(max_examples=200, deadline=None)
@given(
    second=st.integers(0, 59),
    minute=number_field(0, 59),
    hour=number_field(0, 23),
    # A list or a step in one day field and a restriction in the other: judges differ in and/or there.
    day=st.one_of(st.just("*"), st.just("?"), st.integers(1, 28).map(str)),
    month=number_field(1, 12),
    weekday=weekdays(),
    after=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),
)
def test_croniter_agrees(second, minute, hour, day, month, weekday, after):
    if day == weekday == "?":
        day = "*"
    expression = parse(f"cron({second} {minute} {hour} {day} {month} {weekday})")
    words = [spelt_out(word, top) for word, top in ((minute, 59), (hour, 23), (month, 12))]
    judged = f"{words[0]} {words[1]} {day.replace('?', '*')} {words[2]} {weekday.replace('?', '*')} {second}"
    start = after.replace(tzinfo=UTC)
    judge = croniter(judged, start)
    expected = [judge.get_next(datetime) for _ in range(4)]
    assert list(islice(firings(expression, UTC, start, start + FAR), 4)) == expected
    backwards = croniter(judged, expected[2])
    assert last_firing(expression, UTC, expected[2] - timedelta(seconds=1)) == backwards.get_prev(datetime)


@settings(max_examples=100, deadline=None)
@given(
    zone=st.sampled_from(
        ["America/New_York", "Europe/Berlin", "Asia/Shanghai", "America/Santiago", "Africa/Cairo"]
    ),
    minute=number_field(0, 59),
    hour=number_field(0, 23),
    begin=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
)
def test_firings_are_exactly_the_matching_minutes_of_the_clock(zone, minute, hour, begin):
    tz = ZoneInfo(zone)
    expression = parse(f"cron(0 {minute} {hour} * * *)")
    assert isinstance(expression, Cron)
    start = begin.replace(second=0, microsecond=0, tzinfo=UTC)
    end = start + timedelta(days=1)
    clock = [start + timedelta(minutes=n) for n in range(1, 24 * 60 + 1)]
    expected = [
        m
        for m in clock
        if (t := m.astimezone(tz)).minute in expression.minutes and t.hour in expression.hours
    ]
    assert list(firings(expression, tz, start, end)) == expected

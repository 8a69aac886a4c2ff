"""Added up time: the same sums before and after, small steps, windows that cut nothing."""

import contextlib
import itertools
import sqlite3
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.host_core import ManualClock
from tickover.errors import TickoverError
from tickover.host import db, spans
from tickover.host.clock import SECOND_NS
from tickover.host.db import Database
from tickover.host.ledger import Interval, Ledger, Moment, clip
from tickover.host.meter import Meter
from tickover.host.model import BillingClass
from tickover.host.spans import KEPT_NS, QUARTER_NS, STEP_ROWS, Piece, Spans

B = BillingClass
WALL = 1_888_888 * QUARTER_NS
FOREVER = 2**62
LATER = KEPT_NS + 2 * QUARTER_NS


@contextlib.contextmanager
def opened(path, now=None):
    database = Database(path)
    try:
        yield Ledger(database, "boot-1", now or Moment(0, WALL))
    finally:
        database.close()


@pytest.fixture
def ledger(tmp_path):
    with opened(tmp_path / "host.db") as found:
        yield found


def rows(ledger, table):
    return ledger._db.rows(f"SELECT count(*) FROM {table}")[0][0]


def turn(ledger, at_ns, busy_ns=10, name="i-1"):
    ledger.enter(name, B.BUSY, at_ns)
    ledger.enter(name, B.IDLE, at_ns + busy_ns)


def totals(pieces):
    found = defaultdict(int)
    for piece in pieces:
        found[piece.instance_id, piece.billing_class] += piece.duration_ns
    return {key: ns for key, ns in found.items() if ns}


def tidied(ledger, wall_ns):
    """Add up all there is at that time; how many steps did something."""
    steps = 0
    while ledger._spans.step(wall_ns):
        steps += 1
    return steps


def test_many_turns_in_one_second_are_two_rows(ledger):
    ledger.enter("i-1", B.IDLE, 0)
    ledger.flush(0)
    for at in range(100, 100_000, 100):
        turn(ledger, at)
    ledger.flush(100_000)
    assert (rows(ledger, "interval"), rows(ledger, "span")) == (2, 2)  # the first and the last idle one
    pieces = ledger.usage(WALL, FOREVER, ledger.moment(100_000))
    assert totals(pieces) == {("i-1", B.BUSY): 9990, ("i-1", B.IDLE): 90_010}


def test_turns_that_are_rare_stay_rows(ledger):
    for second in range(4):
        turn(ledger, second * SECOND_NS)
    ledger.flush(4 * SECOND_NS)
    assert (rows(ledger, "interval"), rows(ledger, "span")) == (8, 0)
    now = ledger.moment(4 * SECOND_NS)
    assert totals(ledger.usage(WALL + 5, WALL + 8, now)) == {("i-1", B.BUSY): 3}


def test_what_is_old_is_one_row_a_quarter_and_what_is_young_stays(ledger):
    for second in range(5, 3600 * 3, 10):
        turn(ledger, second * SECOND_NS, SECOND_NS)
        ledger.flush(second * SECOND_NS + SECOND_NS)
    end = ledger.moment(3 * 3600 * SECOND_NS)
    before = totals(ledger.usage(WALL, FOREVER, end))
    tidied(ledger, end.wall_ns)
    assert ledger._db.rows("SELECT DISTINCT start_ns FROM span") == [
        (WALL + n * QUARTER_NS,) for n in range(4)
    ]
    assert rows(ledger, "span") == 8
    # Of the first hour: the idle intervals over a border, of which the last one ends later, and no other.
    old = "SELECT count(*) FROM interval WHERE end_wall_ns <= ?"
    assert ledger._db.rows(old, (WALL + 4 * QUARTER_NS,)) == [(3,)]
    assert rows(ledger, "interval") == 4 + 2 * 720
    assert totals(ledger.usage(WALL, FOREVER, end)) == before


def test_a_border_inside_added_up_time_is_moved_back_and_any_other_is_not(ledger):
    ledger.enter("i-1", B.IDLE, 0)
    for at in range(SECOND_NS, 20 * SECOND_NS, SECOND_NS // 4):
        turn(ledger, at, SECOND_NS // 8)
    ledger.flush(20 * SECOND_NS)
    inside, whole = WALL + 5 * SECOND_NS + SECOND_NS // 2, WALL + 5 * SECOND_NS
    assert ledger.window(inside, FOREVER) == (whole, FOREVER)
    assert ledger.window(whole, whole + SECOND_NS) == (whole, whole + SECOND_NS)
    tidied(ledger, WALL + LATER)
    assert ledger.window(whole, inside) == (WALL, WALL)
    assert ledger.window(WALL, WALL + QUARTER_NS) == (WALL, WALL + QUARTER_NS)
    # The last turn but one ended at 19.875 s: nothing lies beyond that is not told apart.
    assert ledger.window(WALL + 20 * SECOND_NS, FOREVER) == (WALL + 20 * SECOND_NS, FOREVER)


def test_a_step_is_bounded_and_an_idle_one_writes_nothing(ledger):
    for second in range(STEP_ROWS + 30):
        turn(ledger, second * SECOND_NS // 2, SECOND_NS // 4)
        ledger.flush(second * SECOND_NS // 2 + SECOND_NS // 4)
    count = rows(ledger, "interval")
    wall = WALL + LATER
    assert ledger._spans.step(wall) == STEP_ROWS
    assert rows(ledger, "interval") == count - STEP_ROWS
    tidied(ledger, wall)
    changes = ledger._db._connection.total_changes
    assert ledger._spans.step(wall) == 0
    assert ledger._db._connection.total_changes == changes


def test_freed_pages_are_used_again(tmp_path):
    with opened(tmp_path / "host.db") as ledger:
        sizes, at = [], 0
        for _ in range(6):
            for _ in range(800):
                at += SECOND_NS
                turn(ledger, at, SECOND_NS // 2)
            ledger.flush(at + SECOND_NS // 2)
            tidied(ledger, WALL + at + LATER)
            sizes.append(ledger._db.rows("PRAGMA page_count")[0][0])
        assert sizes[-1] <= sizes[1] + 1, sizes


def test_a_clock_that_was_set_back_leaves_nothing_behind(ledger):
    turn(ledger, SECOND_NS)
    ledger.flush(2 * SECOND_NS)
    tidied(ledger, WALL + LATER)
    past = WALL - 40 * QUARTER_NS
    ledger.beat(Moment(3 * SECOND_NS, past))
    tidied(ledger, past)
    turn(ledger, 4 * SECOND_NS)
    ledger.enter("i-1", None, 5 * SECOND_NS)
    ledger.flush(5 * SECOND_NS)
    before = totals(ledger.usage(0, FOREVER, ledger.moment(5 * SECOND_NS)))
    tidied(ledger, past + LATER)
    # The one during which the clock was set lies in no quarter.
    assert rows(ledger, "interval") == 1
    assert totals(ledger.usage(0, FOREVER, ledger.moment(5 * SECOND_NS))) == before


def test_a_host_of_before_refuses_the_file_only_once_it_would_bill_too_little(tmp_path, monkeypatch):
    path = tmp_path / "host.db"
    with opened(path) as ledger:
        turn(ledger, 0)
        ledger.flush(10)
    monkeypatch.setattr(db, "SCHEMA_VERSION", 1)
    with opened(path):
        pass
    monkeypatch.undo()
    with opened(path) as ledger:
        tidied(ledger, WALL + LATER)
    monkeypatch.setattr(db, "SCHEMA_VERSION", 1)
    with pytest.raises(TickoverError, match="Host database is newer"):
        Database(path)


def test_a_step_that_fails_half_way_has_done_nothing(ledger, monkeypatch):
    for second in range(9):
        turn(ledger, second * SECOND_NS)
    ledger.flush(9 * SECOND_NS)
    before = totals(ledger.usage(WALL, FOREVER, ledger.moment(9 * SECOND_NS)))
    trigger = "CREATE TEMP TRIGGER no BEFORE DELETE ON interval BEGIN SELECT RAISE(ABORT, 'no'); END"
    ledger._db._connection.execute(trigger)
    with pytest.raises(TickoverError, match="Host database cannot be used"):
        ledger._spans.step(WALL + LATER)
    assert rows(ledger, "span") == 0
    ledger._db._connection.execute("DROP TRIGGER no")
    tidied(ledger, WALL + LATER)
    assert rows(ledger, "span") == 2
    assert totals(ledger.usage(WALL, FOREVER, ledger.moment(9 * SECOND_NS))) == before


@pytest.mark.parametrize(
    ("first", "last", "start"),
    [(0, 10, 0), (3, 7, 0), (10, 20, 10), (9, 11, None), (0, 11, None), (5, 5, 0), (7, 3, 0), (10, 10, None)],
)
def test_what_lies_within_a_grain(first, last, start):
    assert Piece("i-1", B.BUSY, first, last, 1).within(10) == start


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("enter"),
            st.sampled_from(["i-1", "i-2"]),
            st.sampled_from([None, *BillingClass]),
            st.one_of(st.integers(0, 10**8), st.integers(0, 2 * QUARTER_NS), st.just(QUARTER_NS // 4)),
        ),
        st.tuples(st.just("flush"), st.integers(0, 10**9)),
        st.tuples(st.just("set"), st.integers(-3 * QUARTER_NS, 3 * QUARTER_NS), st.integers(0, 10**9)),
        st.tuples(st.just("restart"), st.integers(0, 10**9)),
    ),
    max_size=60,
)


def played(ledger, steps, reopen):
    """The last ledger, what it was told as plain intervals, and the time after it."""
    now, since, told = 0, {}, []
    for kind, *given_values, wait in steps:
        now += wait
        if kind == "enter":
            name, entered = given_values
            former = since.get(name)
            if (former[0] if former else None) is not entered:
                at = ledger.moment(now)
                if former:
                    told.append(Interval(name, former[0], former[1], at))
                since[name] = (entered, at) if entered else None
            ledger.enter(name, entered, now)
        elif kind == "flush":
            ledger.flush(now)
        elif kind == "set":
            ledger.beat(Moment(now, ledger.moment(now).wall_ns + given_values[0]))
        else:
            for name in since:
                if since[name]:
                    told.append(Interval(name, since[name][0], since[name][1], ledger.moment(now)))
                    ledger.enter(name, None, now)
                    since[name] = None
            ledger.flush(now)
            ledger = reopen(ledger.moment(now))
    for name, former in since.items():
        if former:
            told.append(Interval(name, former[0], former[1], ledger.moment(now)))
            ledger.enter(name, None, now)
    ledger.flush(now)
    return ledger, told, ledger.moment(now)


def expected(told, since, until, now):
    found = defaultdict(int)
    for one in told:
        if one.start.wall_ns < until and one.end.wall_ns > since:
            found[one.instance_id, one.billing_class] += clip(one, since, until, now)[2]
    return {key: ns for key, ns in found.items() if ns}


@settings(max_examples=50, deadline=None)
@given(STEPS, st.integers(1, 5))
def test_the_sums_of_all_windows_of_quarters_are_the_same_before_during_and_after(steps, step_rows):
    """Against intervals kept in a list, over restarts and clocks that are set, forth and back."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.ExitStack() as stack,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(spans, "STEP_ROWS", step_rows)
        path = Path(folder, "host.db")

        def reopen(now):
            stack.pop_all().close()
            return stack.enter_context(opened(path, now))

        ledger, told, now = played(stack.enter_context(opened(path)), steps, reopen)
        walls = [w for one in told for w in (one.start.wall_ns, one.end.wall_ns)] or [WALL]
        first, last = min(walls) // QUARTER_NS, max(walls) // QUARTER_NS + 1
        borders = [n * QUARTER_NS for n in sorted({*range(first, min(first + 6, last)), last})]
        windows = [(0, FOREVER), *itertools.combinations(borders, 2)]
        sums = [expected(told, *window, now) for window in windows]

        def same():
            for window, wanted in zip(windows, sums, strict=True):
                assert ledger.window(*window) == window
                assert totals(ledger.usage(*window, now)) == wanted, window

        same()
        for _ in range(6):
            ledger._spans.step(max(walls) + LATER)
            same()
        tidied(ledger, max(walls) + LATER)
        same()
        for one in ledger.intervals(0, FOREVER):  # what is left lies in no quarter
            ns = one.end.mono_ns - one.start.mono_ns
            piece = Piece("", B.BUSY, one.start.wall_ns, one.end.wall_ns, ns)
            assert piece.within(QUARTER_NS) is None


@settings(max_examples=40, deadline=None)
@given(STEPS, st.lists(st.integers(0, 40 * QUARTER_NS), min_size=1, max_size=6))
def test_windows_with_common_borders_add_up_to_the_whole(steps, cuts):
    """Wherever they are cut, also in the middle of what was added up. Clocks that are not set."""
    steps = [step for step in steps if step[0] not in ("set", "restart")]
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder, "host.db")) as ledger:
        _, told, now = played(ledger, steps, None)
        for _ in range(2):
            borders = [0, *sorted(WALL + cut for cut in cuts), FOREVER]
            found = defaultdict(int)
            for since, until in itertools.pairwise(borders):
                for key, ns in totals(ledger.usage(*ledger.window(since, until), now)).items():
                    found[key] += ns
            assert found == expected(told, 0, FOREVER, now)
            tidied(ledger, now.wall_ns + LATER)


def test_old_intervals_are_found_by_an_index(ledger):
    plan = ledger._db.rows(
        "EXPLAIN QUERY PLAN SELECT 1 FROM interval WHERE (end_wall_ns, interval_id) > (1, 1) "
        "AND end_wall_ns <= 9 ORDER BY end_wall_ns, interval_id LIMIT 5"
    )
    assert "interval_end" in str(plan) and "TEMP B-TREE" not in str(plan)


def test_a_broken_database_is_told(ledger):
    ledger._db._connection.execute("DROP TABLE span")
    with pytest.raises(TickoverError, match="Host database cannot be used"):
        Spans(ledger._db).step(WALL)
    with pytest.raises(sqlite3.OperationalError):
        ledger._db._connection.execute("SELECT * FROM span")


def test_each_heartbeat_adds_up_some(tmp_path):
    clock = ManualClock()
    meter = Meter(tmp_path / "host.db", clock, 0.0)
    for _ in range(3):
        turn(meter._ledger, clock.mono_ns())
        clock.tick(SECOND_NS)
    meter.beat()
    clock.tick(LATER)
    assert rows(meter._ledger, "span") == 0
    meter.beat()
    assert rows(meter._ledger, "span") > 0
    meter.close()

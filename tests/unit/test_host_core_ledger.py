"""The meter: exact sums whatever happens, also across hosts."""

import contextlib
import sqlite3
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.errors import TickoverError
from tickover.host.clock import SECOND_NS
from tickover.host.db import Database
from tickover.host.ledger import Interval, Ledger, Moment, clip
from tickover.host.model import BillingClass

WALL = 1_700_000_000 * SECOND_NS
FOREVER = 2**62
B = BillingClass


def moment(mono_ns):
    return Moment(mono_ns, WALL + mono_ns)


@contextlib.contextmanager
def opened(path, now=0, boot="boot-1"):
    database = Database(path)
    try:
        yield Ledger(database, boot, moment(now))
    finally:
        database.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "host.db"


def text(ledger):
    return [
        f"{i.instance_id} {i.billing_class.value} {i.start.mono_ns}-{i.end.mono_ns if i.end else ''}"
        for i in ledger.intervals(0, FOREVER)
    ]


def test_intervals_join_without_a_gap(path):
    with opened(path) as ledger:
        ledger.enter("i-1", B.STARTING, 10)
        ledger.enter("i-1", B.IDLE, 25)
        ledger.enter("i-1", B.IDLE, 27)  # no change of class
        ledger.enter("i-1", B.BUSY, 30)
        ledger.flush(30)
        assert text(ledger) == ["i-1 starting 10-25", "i-1 idle 25-30", "i-1 busy 30-"]
        ledger.enter("i-1", None, 31)
        ledger.enter("i-1", None, 40)
        ledger.flush(40)
        assert text(ledger) == ["i-1 starting 10-25", "i-1 idle 25-30", "i-1 busy 30-31"]


def test_time_never_runs_backwards_in_an_interval(path):
    with opened(path) as ledger:
        ledger.enter("i-1", B.BUSY, 10)
        with pytest.raises(ValueError, match="backwards"):
            ledger.enter("i-1", B.IDLE, 9)
        ledger.enter("i-1", B.IDLE, 10)
        ledger.flush(10)
        assert text(ledger) == ["i-1 busy 10-10", "i-1 idle 10-"]


def test_wall_times_follow_a_clock_that_was_set(path):
    with opened(path) as ledger:
        ledger.enter("i-1", B.IDLE, 0)
        ledger.beat(Moment(SECOND_NS, WALL + SECOND_NS + SECOND_NS // 4))  # drift: not followed
        assert ledger.moment(2 * SECOND_NS).wall_ns == WALL + 2 * SECOND_NS
        ledger.beat(Moment(3 * SECOND_NS, WALL + 100 * SECOND_NS))
        ledger.enter("i-1", None, 4 * SECOND_NS)
        ledger.flush(4 * SECOND_NS)
        (interval,) = ledger.intervals(0, FOREVER)
        assert interval.end.mono_ns - interval.start.mono_ns == 4 * SECOND_NS
        assert interval.end.wall_ns == WALL + 101 * SECOND_NS


def test_requests_are_counted_by_function_and_second(path):
    with opened(path) as ledger:
        for at in (0, 1, SECOND_NS, 2 * SECOND_NS):
            ledger.served("chat", at)
        ledger.served("other", 5)
        ledger.flush(5)
        ledger.served("chat", 3)
        ledger.flush(6)
        assert ledger.requests(WALL, WALL + 3 * SECOND_NS) == {"chat": 5, "other": 1}
        assert ledger.requests(WALL, WALL + SECOND_NS) == {"chat": 3, "other": 1}
        assert ledger.requests(WALL + SECOND_NS, WALL + 2 * SECOND_NS) == {"chat": 1}


def test_the_next_host_closes_at_the_last_heartbeat_and_goes_on(path):
    with opened(path) as ledger:
        for name in ("i-dead", "i-alive"):
            ledger.enter(name, B.BUSY, 10)
        ledger.flush(20)
        ledger.beat(moment(50))
        ledger.enter("i-dead", B.IDLE, 60)  # never written: the host is killed here
    with opened(path, now=90) as ledger:
        ledger.recover({"i-alive": B.IDLE})
        assert text(ledger) == ["i-dead busy 10-50", "i-alive busy 10-50", "i-alive idle 50-"]
        ledger.enter("i-alive", None, 95)
        ledger.flush(95)
        assert text(ledger)[-1] == "i-alive idle 50-95"


def test_after_a_reboot_everything_ended_at_the_last_heartbeat(path):
    with opened(path, now=1000) as ledger:
        ledger.enter("i-1", B.IDLE, 1000)
        ledger.beat(moment(5000))
    with opened(path, now=7, boot="boot-2") as ledger:
        ledger.recover({})
        assert text(ledger) == ["i-1 idle 1000-5000"]


def test_an_interval_younger_than_the_heartbeat_has_no_negative_length(path):
    with opened(path) as ledger:
        ledger.beat(moment(10))
        ledger.enter("i-1", B.STARTING, 20)
        ledger.flush(20)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE heartbeat SET mono_ns = 10")
    database.close()
    with opened(path, now=30) as ledger:
        ledger.recover({})
        assert text(ledger) == ["i-1 starting 20-20"]


def test_what_could_not_be_written_is_written_later(path):
    with opened(path) as ledger:
        ledger.enter("i-1", B.BUSY, 10)
        ledger.served("chat", 10)
        ledger._db._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(TickoverError, match="Host database cannot be used"):
            ledger.flush(11)
        ledger._db._connection.execute("PRAGMA query_only = OFF")
        ledger.enter("i-1", None, 12)
        ledger.flush(12)
        assert text(ledger) == ["i-1 busy 10-12"]
        assert ledger.requests(0, FOREVER) == {"chat": 1}


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [(0, 100, (10, 30, 20)), (15, 100, (15, 30, 15)), (0, 12, (10, 12, 2)), (12, 20, (12, 20, 8))],
)
def test_a_window_cuts_an_interval(since, until, expected):
    interval = Interval("i-1", B.BUSY, Moment(1010, 10), Moment(1030, 30))
    assert clip(interval, since, until, Moment(2000, 2000)) == expected


def test_an_open_interval_lasts_until_now():
    interval = Interval("i-1", B.BUSY, Moment(1010, 10), None)
    assert clip(interval, 0, 100, Moment(1015, 15)) == (10, 15, 5)


CLASSES = st.sampled_from([None, *BillingClass])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from(["i-1", "i-2", "i-3"]), CLASSES, st.integers(0, 10**12)),
        st.tuples(st.just("flush"), st.integers(0, 10**10)),
        st.tuples(st.just("beat"), st.integers(0, 10**10)),
        st.tuples(st.just("restart"), st.integers(0, 10**11)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_classes_sum_to_the_reserved_time_exactly(steps):
    """Also over restarts of the host: an orderly one flushes, and instances live on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "host.db")
        now, classes, reserved, since = 0, {}, defaultdict(int), {}
        with contextlib.ExitStack() as stack:
            ledger = stack.enter_context(opened(path))
            for step in steps:
                now += step[-1]
                if step[0] == "enter":
                    _, name, kind, _ = step
                    ledger.enter(name, kind, now)
                    if kind is None and name in since:
                        reserved[name] += now - since.pop(name)
                    elif kind is not None:
                        since.setdefault(name, now)
                    classes[name] = kind
                elif step[0] == "flush":
                    ledger.flush(now)
                elif step[0] == "beat":
                    ledger.beat(moment(now))
                else:
                    ledger.beat(moment(now))
                    stack.pop_all().close()
                    ledger = stack.enter_context(opened(path, now))
                    ledger.recover({name: kind for name, kind in classes.items() if kind})
            for name in list(since):
                ledger.enter(name, None, now)
                reserved[name] += now - since.pop(name)
            ledger.flush(now)
            found = defaultdict(int)
            for interval in ledger.intervals(0, FOREVER):
                assert interval.end is not None
                assert interval.end.mono_ns >= interval.start.mono_ns
                found[interval.instance_id] += interval.end.mono_ns - interval.start.mono_ns
            for piece in ledger._spans.pieces(0, FOREVER):
                found[piece.instance_id] += piece.duration_ns
            assert {k: v for k, v in found.items() if v} == {k: v for k, v in reserved.items() if v}

"""The meter: for what time each instance was starting, busy or idle.

Owns: the intervals and request counts. Promises: intervals are only ever appended and closed, and added up
(`spans`); at any time an instance has at most one open; the next one starts at the very nanosecond the former
ended, so the sum of all classes is the reserved time exactly. Changes are taken in memory with their time and
written a moment later in one transaction (`flush`), so a kill costs that moment at most. Never: reads a
clock, knows a price.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tickover.host.clock import SECOND_NS
from tickover.host.db import Database
from tickover.host.model import BillingClass
from tickover.host.spans import Piece, Spans, summed

_COLUMNS = "instance_id, billing_class, boot_id, start_wall_ns, start_mono_ns"
REANCHOR_NS = SECOND_NS // 2  # a wall clock that was set by more than this is followed


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks."""

    mono_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A metered stretch of one instance. end is None while it is open."""

    instance_id: str
    billing_class: BillingClass
    start: Moment
    end: Moment | None


@dataclass(slots=True)
class _Open:
    billing_class: BillingClass
    start: Moment
    row: int | None = None  # its row once written


@dataclass(frozen=True, slots=True)
class _Change:
    """What has to be written: close the row of `closed` at `at`, insert `opened`."""

    instance_id: str
    closed: _Open | None
    opened: _Open | None
    at: Moment


class Ledger:
    """Intervals of the instances of one host, kept in the host's database."""

    def __init__(self, database: Database, boot_id: str, now: Moment) -> None:
        self._db = database
        self._boot_id = boot_id
        self._anchor = now
        self._spans = Spans(database)
        self._open: dict[str, _Open] = {}
        self._changes: list[_Change] = []
        self._requests: Counter[tuple[str, int]] = Counter()

    def moment(self, mono_ns: int) -> Moment:
        """An instant of the monotonic clock with the wall time that the ledger gives it."""
        return Moment(mono_ns, self._anchor.wall_ns + mono_ns - self._anchor.mono_ns)

    # -- what happens ----------------------------------------------------------------------------------

    def enter(self, instance_id: str, billing_class: BillingClass | None, mono_ns: int) -> None:
        """From now on the instance is of this class; None ends its metering."""
        current = self._open.get(instance_id)
        if (current.billing_class if current else None) is billing_class:
            return
        at = self.moment(mono_ns)
        if current is not None and at.mono_ns < current.start.mono_ns:
            raise ValueError(f"the meter of {instance_id} would run backwards. This is a bug in tickover.")
        opened = _Open(billing_class, at) if billing_class else None
        if opened:
            self._open[instance_id] = opened
        else:
            del self._open[instance_id]
        self._changes.append(_Change(instance_id, current, opened, at))

    def served(self, function_name: str, mono_ns: int) -> None:
        """A request is over."""
        self._requests[function_name, self.moment(mono_ns).wall_ns // SECOND_NS] += 1

    @property
    def is_dirty(self) -> bool:
        return bool(self._changes or self._requests)

    def beat(self, now: Moment) -> None:
        """Write what is pending and that the host was alive; follows a wall clock that was set."""
        self.flush(now.mono_ns)
        if abs(self.moment(now.mono_ns).wall_ns - now.wall_ns) > REANCHOR_NS:
            self._anchor = now

    def flush(self, mono_ns: int) -> None:
        """Write what is pending, and the heartbeat, in one transaction."""
        requests = self._requests
        at = self.moment(mono_ns)
        ended, whole, fresh = _sorted(self._changes)
        whole, turns = _added_up(whole)
        rows: list[int] = []
        with self._db.transaction() as connection:
            connection.executemany(
                "UPDATE interval SET end_wall_ns = ?, end_mono_ns = ? WHERE interval_id = ?", ended
            )
            connection.executemany(
                f"INSERT INTO interval ({_COLUMNS}, end_wall_ns, end_mono_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*self._columns(name, opened), end.wall_ns, end.mono_ns) for name, opened, end in whole],
            )
            self._spans.add(connection, SECOND_NS, turns)
            for name, opened in fresh:
                insert = f"INSERT INTO interval ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)"
                rows.append(self._db.insert(insert, self._columns(name, opened)))
            connection.executemany(
                "INSERT INTO request_count VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET requests = requests + excluded.requests",
                [(name, second, count) for (name, second), count in requests.items()],
            )
            connection.execute(
                "INSERT OR REPLACE INTO heartbeat VALUES (1, ?, ?, ?)",
                (self._boot_id, at.mono_ns, at.wall_ns),
            )
        for (_, opened), row in zip(fresh, rows, strict=True):
            opened.row = row
        # Only now: if the transaction failed, all of it is still to be written.
        self._changes, self._requests = [], Counter()

    def _columns(self, instance_id: str, opened: _Open) -> tuple[str, str, str, int, int]:
        start = opened.start
        return (instance_id, opened.billing_class.value, self._boot_id, start.wall_ns, start.mono_ns)

    # -- after a former host ---------------------------------------------------------------------------

    def recover(self, living: Mapping[str, BillingClass | None]) -> None:
        """Close what a former host left open, and go on with the instances that still live.

        An interval is closed at the last heartbeat. An instance that lives on was reserved all the while,
        so its next interval starts there, with the class that it has now. Times of another boot of the
        machine are not comparable with ours; nothing lives across one.
        """
        beat = self._db.rows("SELECT boot_id, mono_ns, wall_ns FROM heartbeat")
        left = self._db.rows(
            "SELECT interval_id, instance_id, billing_class, boot_id, start_wall_ns, start_mono_ns "
            "FROM interval WHERE end_mono_ns IS NULL ORDER BY interval_id"
        )
        ends: dict[str, Moment] = {}
        with self._db.transaction() as connection:
            for row, instance_id, _, boot, start_wall, start_mono in left:
                end = Moment(start_mono, start_wall)
                if beat and beat[0][0] == boot and beat[0][1] > start_mono:
                    end = Moment(beat[0][1], max(beat[0][2], start_wall))
                connection.execute(
                    "UPDATE interval SET end_wall_ns = ?, end_mono_ns = ? WHERE interval_id = ?",
                    (end.wall_ns, end.mono_ns, row),
                )
                if boot == self._boot_id:
                    ends[instance_id] = end
        for instance_id, billing_class in living.items():
            if billing_class is not None:
                opened = _Open(billing_class, ends.get(instance_id, self._anchor))
                self._open[instance_id] = opened
                self._changes.append(_Change(instance_id, None, opened, opened.start))
        self.flush(self._anchor.mono_ns)

    # -- reading ---------------------------------------------------------------------------------------

    def intervals(self, since_ns: int, until_ns: int) -> list[Interval]:
        """What overlaps [since, until) on the wall clock and was not added up, in order of start. Call
        `flush` first."""
        return self._intervals("1", (), since_ns, until_ns)

    def _intervals(
        self, condition: str, values: tuple[int, ...], since_ns: int, until_ns: int
    ) -> list[Interval]:
        found = self._db.rows(
            "SELECT instance_id, billing_class, start_mono_ns, start_wall_ns, end_mono_ns, end_wall_ns "
            "FROM interval WHERE start_wall_ns < ? AND (end_wall_ns IS NULL OR end_wall_ns > ?) "
            f"AND {condition} ORDER BY start_wall_ns, interval_id",
            (until_ns, since_ns, *values),
        )
        return [
            Interval(name, BillingClass(kind), Moment(*start), None if end[0] is None else Moment(*end))
            for name, kind, *times in found
            for start, end in [(times[:2], times[2:])]
        ]

    def window(self, since_ns: int, until_ns: int) -> tuple[int, int]:
        """The window that can be told exactly: a border inside time that was added up is moved back to the
        beginning of the second, or quarter of an hour, that it is in. Call `flush` first.
        """
        return self._spans.window(since_ns, until_ns)

    def usage(self, since_ns: int, until_ns: int, now: Moment) -> list[Piece]:
        """The time in a window that `window` gave, one piece for each instance and class."""
        inside = "start_wall_ns >= ? AND end_wall_ns IS NOT NULL AND end_wall_ns <= ?"
        within = self._db.rows(
            "SELECT instance_id, billing_class, min(start_wall_ns), max(end_wall_ns), "
            f"sum(end_mono_ns - start_mono_ns) FROM interval WHERE {inside} "
            "AND start_wall_ns < ? AND end_wall_ns > ? GROUP BY instance_id, billing_class",
            (since_ns, until_ns, until_ns, since_ns),
        )
        pieces = [Piece(name, BillingClass(kind), *rest) for name, kind, *rest in within]
        for interval in self._intervals(f"NOT ({inside})", (since_ns, until_ns), since_ns, until_ns):
            cut = clip(interval, since_ns, until_ns, now)
            pieces.append(Piece(interval.instance_id, interval.billing_class, *cut))
        found = summed([*pieces, *self._spans.pieces(since_ns, until_ns)])
        return [piece for piece in found if piece.duration_ns > 0]

    def tidy(self, mono_ns: int) -> None:
        """Add up some of what is old."""
        self._spans.step(self.moment(mono_ns).wall_ns)

    def requests(self, since_ns: int, until_ns: int) -> dict[str, int]:
        """Function name → requests that ended in the seconds that start in [since, until)."""
        found = self._db.rows(
            "SELECT function_name, SUM(requests) FROM request_count WHERE second >= ? AND second < ? "
            "GROUP BY function_name ORDER BY function_name",
            (-(-since_ns // SECOND_NS), -(-until_ns // SECOND_NS)),
        )
        return dict(found)


def _sorted(
    changes: Sequence[_Change],
) -> tuple[list[tuple[int, int, int]], list[tuple[str, _Open, Moment]], list[tuple[str, _Open]]]:
    """(end wall, end mono, row) of intervals that are in the database; those that began and ended since the
    last write, most of all by far; and those that are open now.
    """
    ended: list[tuple[int, int, int]] = []
    whole: list[tuple[str, _Open, Moment]] = []
    fresh: dict[str, _Open] = {}
    for change in changes:
        closed = change.closed
        if closed is not None and closed.row is not None:
            ended.append((change.at.wall_ns, change.at.mono_ns, closed.row))
        elif closed is not None:
            del fresh[change.instance_id]
            whole.append((change.instance_id, closed, change.at))
        if change.opened is not None:
            fresh[change.instance_id] = change.opened
    return ended, whole, list(fresh.items())


def _added_up(
    whole: Sequence[tuple[str, _Open, Moment]],
) -> tuple[list[tuple[str, _Open, Moment]], list[Piece]]:
    """What stays a row, and the turns of instances that were in one class several times in one second."""
    groups: defaultdict[tuple[str, BillingClass, int], list[int]] = defaultdict(list)
    pieces = [
        Piece(
            name, opened.billing_class, opened.start.wall_ns, end.wall_ns, end.mono_ns - opened.start.mono_ns
        )
        for name, opened, end in whole
    ]
    for number, piece in enumerate(pieces):
        second = piece.within(SECOND_NS)
        if second is not None:
            groups[piece.instance_id, piece.billing_class, second].append(number)
    several = [numbers for numbers in groups.values() if len(numbers) > 1]
    gone = {number for numbers in several for number in numbers}
    turns = [piece for numbers in several for piece in summed(pieces[number] for number in numbers)]
    return [one for number, one in enumerate(whole) if number not in gone], turns


def clip(interval: Interval, since_ns: int, until_ns: int, now: Moment) -> tuple[int, int, int]:
    """(start wall, end wall, duration) of the part inside [since, until).

    The duration is the monotonic one, less what the window cuts off on the wall clock.
    """
    end = interval.end or now
    start_wall, end_wall = max(interval.start.wall_ns, since_ns), min(end.wall_ns, until_ns)
    cut = (start_wall - interval.start.wall_ns) + (end.wall_ns - end_wall)
    duration = max(0, end.mono_ns - interval.start.mono_ns - cut)
    return start_wall, max(start_wall, end_wall), duration

"""Metered time that was added up: of one instance and class, within one second or one quarter of an hour.

Owns: the table `span`. Promises: lossless. An interval is added to a span only if it lies within that one
second or quarter (of UTC) whole, in the transaction that takes its own row away, so that every sum over a
window is the same before and after, as long as no border of the window cuts a span; `window` moves one that
does to the beginning of the second or quarter. Adding up goes on in small steps, each of a bounded number of
rows; the pages that it frees are used again by what is written next. Never: reads a clock, knows a price.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tickover.host.clock import SECOND_NS
from tickover.host.db import Database
from tickover.host.model import BillingClass

# The months and days of all time zones begin on quarters of an hour of UTC.
QUARTER_NS: Final = 900 * SECOND_NS
# What is younger is kept by the second at least.
KEPT_NS: Final = 7200 * SECOND_NS
STEP_ROWS: Final = 250

_ADD = (
    "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "first_wall_ns = min(first_wall_ns, excluded.first_wall_ns), "
    "last_wall_ns = max(last_wall_ns, excluded.last_wall_ns), "
    "duration_ns = duration_ns + excluded.duration_ns"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Time of one instance in one class. duration_ns: monotonic, what is billed; the rest is wall time."""

    instance_id: str
    billing_class: BillingClass
    first_wall_ns: int
    last_wall_ns: int
    duration_ns: int

    def within(self, grain_ns: int) -> int | None:
        """The beginning of the second or quarter in which all of it lies; None if there is none.

        A clock that was set has it end before its beginning, but perhaps still in the same one.
        """
        start = self.first_wall_ns // grain_ns
        return start * grain_ns if start == (self.last_wall_ns - 1) // grain_ns else None


def summed(pieces: Iterable[Piece]) -> list[Piece]:
    """One for each instance and class, in the order of their beginnings."""
    found: dict[tuple[str, BillingClass], Piece] = {}
    for piece in pieces:
        key = (piece.instance_id, piece.billing_class)
        known = found.get(key, piece)
        duration = piece.duration_ns + (known.duration_ns if key in found else 0)
        first = min(known.first_wall_ns, piece.first_wall_ns)
        last = max(known.last_wall_ns, piece.last_wall_ns)
        found[key] = Piece(*key, first, last, duration)
    return sorted(found.values(), key=lambda piece: (piece.first_wall_ns, piece.instance_id))


class Spans:
    """The added up time of one host's instances."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._is_marked = False
        # Of the intervals, by end and id: those up to here are added up, or never will be.
        self._after = (0, 0)

    def add(self, connection: sqlite3.Connection, grain_ns: int, pieces: Iterable[Piece]) -> None:
        """Inside a transaction. Each piece lies within one second or quarter."""
        rows = [
            (
                grain_ns,
                piece.within(grain_ns),
                piece.instance_id,
                piece.billing_class.value,
                piece.first_wall_ns,
                piece.last_wall_ns,
                piece.duration_ns,
            )
            for piece in pieces
            if piece.duration_ns
        ]
        connection.executemany(_ADD, rows)
        if rows and not self._is_marked:
            # From here on a tickover that knows no spans would bill too little.
            self._db.mark(connection)
            self._is_marked = True

    # -- in the background -----------------------------------------------------------------------------

    def step(self, wall_ns: int) -> int:
        """Add up some of what is old enough, in one transaction; how many rows it has looked at."""
        until = (wall_ns - KEPT_NS) // QUARTER_NS * QUARTER_NS
        after = min(self._after, (until, 0))  # the clock was set back: what ends there now is new
        intervals = self._db.rows(
            "SELECT end_wall_ns, interval_id, instance_id, billing_class, start_wall_ns, "
            "end_mono_ns - start_mono_ns FROM interval "
            "WHERE (end_wall_ns, interval_id) > (?, ?) AND end_wall_ns <= ? "
            "ORDER BY end_wall_ns, interval_id LIMIT ?",
            (*after, until, STEP_ROWS),
        )
        seconds = self._db.rows(
            "SELECT start_ns, instance_id, billing_class, first_wall_ns, last_wall_ns, duration_ns FROM span "
            "WHERE grain_ns = ? AND start_ns < ? ORDER BY start_ns LIMIT ?",
            (SECOND_NS, until, STEP_ROWS),
        )
        pieces, gone = [], []
        for end, row, name, kind, start, duration in intervals:
            piece = Piece(name, BillingClass(kind), start, end, duration)
            if piece.within(QUARTER_NS) is not None:
                pieces.append(piece)
                gone.append((row,))
        pieces += [Piece(name, BillingClass(kind), *rest) for _, name, kind, *rest in seconds]
        if pieces:
            with self._db.transaction() as connection:
                self.add(connection, QUARTER_NS, pieces)
                connection.executemany("DELETE FROM interval WHERE interval_id = ?", gone)
                connection.executemany(
                    "DELETE FROM span WHERE grain_ns = ? AND start_ns = ? AND instance_id = ? "
                    "AND billing_class = ?",
                    [(SECOND_NS, *row[:3]) for row in seconds],
                )
        self._after = intervals[-1][:2] if intervals else after
        return len(intervals) + len(seconds)

    # -- reading ---------------------------------------------------------------------------------------

    def window(self, since_ns: int, until_ns: int) -> tuple[int, int]:
        """The window with no border inside a span. A border is moved back, so that two windows with a
        common border still share one."""
        return self._uncut(since_ns), self._uncut(until_ns)

    def _uncut(self, border_ns: int) -> int:
        for grain_ns in (SECOND_NS, QUARTER_NS):  # what is moved to a second may still cut a quarter
            start = border_ns // grain_ns * grain_ns
            cut = self._db.rows(
                "SELECT 1 FROM span WHERE grain_ns = ? AND start_ns = ? AND first_wall_ns < ? "
                "AND last_wall_ns > ? LIMIT 1",
                (grain_ns, start, border_ns, border_ns),
            )
            border_ns = start if cut else border_ns
        return border_ns

    def pieces(self, since_ns: int, until_ns: int) -> list[Piece]:
        """What lies in a window that cuts no span."""
        found = self._db.rows(
            "SELECT instance_id, billing_class, min(first_wall_ns), max(last_wall_ns), sum(duration_ns) "
            "FROM span WHERE grain_ns IN (?, ?) AND start_ns > ? AND start_ns < ? "
            "AND first_wall_ns >= ? AND first_wall_ns < ? GROUP BY instance_id, billing_class",
            (SECOND_NS, QUARTER_NS, since_ns - QUARTER_NS, until_ns, since_ns, until_ns),
        )
        return [Piece(name, BillingClass(kind), *rest) for name, kind, *rest in found]

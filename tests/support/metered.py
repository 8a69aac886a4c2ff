"""What a host that has stopped has metered, read from its database."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

# Added up time has wall times only; the last host's heartbeat says what they are on its monotonic clock, and
# what an instance begins and ends with is a row of its own or that host's.
_QUERY = """
SELECT instance_id, SUM(ns), MAX(until) - MIN(since), SUM(until IS NULL) FROM (
    SELECT instance_id, start_mono_ns AS since, end_mono_ns AS until, end_mono_ns - start_mono_ns AS ns
    FROM interval
    UNION ALL
    SELECT instance_id, first_wall_ns + ahead, last_wall_ns + ahead, duration_ns
    FROM span, (SELECT mono_ns - wall_ns AS ahead FROM heartbeat)
) GROUP BY instance_id
"""


def metered(path: Path) -> dict[str, tuple[int, int]]:
    """instance -> (sum of its time, first start to last end) in ns; fails on one that is still metered."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = database.execute(_QUERY).fetchall()
    assert all(row[3] == 0 for row in rows), rows
    return {row[0]: row[1:3] for row in rows}

"""The part of host.db that the pool writes: instances, metered intervals, request counts, the
heartbeat; and the sessions.

Owns: the connection and its tables. Promises: one transaction per write, in WAL mode, so that a kill at any
point leaves a consistent file; errors of the database are told as `TickoverError`. Never: decides anything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tickover.errors import Exit, TickoverError

SCHEMA_VERSION = 2  # 2: with a table of added up time
_SCHEMA = """
CREATE TABLE IF NOT EXISTS pool_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instance (
    instance_id TEXT PRIMARY KEY,
    function_name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    version_id TEXT NOT NULL,
    revision TEXT NOT NULL,
    spec TEXT NOT NULL,
    idle_enabled INTEGER NOT NULL,
    state TEXT NOT NULL,
    runtime TEXT NOT NULL,
    ref TEXT NOT NULL,
    pid INTEGER,
    port INTEGER,
    created_wall_ns INTEGER NOT NULL,
    created_mono_ns INTEGER NOT NULL,
    destroyed_wall_ns INTEGER,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instance_cards (
    instance_id TEXT PRIMARY KEY,
    cards TEXT NOT NULL,
    deep_pids TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS instance_alive ON instance (instance_id) WHERE destroyed_wall_ns IS NULL;
CREATE TABLE IF NOT EXISTS interval (
    interval_id INTEGER PRIMARY KEY,
    instance_id TEXT NOT NULL,
    billing_class TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    start_wall_ns INTEGER NOT NULL,
    start_mono_ns INTEGER NOT NULL,
    end_wall_ns INTEGER,
    end_mono_ns INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS interval_open ON interval (instance_id) WHERE end_mono_ns IS NULL;
CREATE INDEX IF NOT EXISTS interval_end ON interval (end_wall_ns);
CREATE TABLE IF NOT EXISTS span (
    grain_ns INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    instance_id TEXT NOT NULL,
    billing_class TEXT NOT NULL,
    first_wall_ns INTEGER NOT NULL,
    last_wall_ns INTEGER NOT NULL,
    duration_ns INTEGER NOT NULL,
    PRIMARY KEY (grain_ns, start_ns, instance_id, billing_class)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS request_count (
    function_name TEXT NOT NULL,
    second INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (function_name, second)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS session (
    function_name TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    session_id TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    ttl_seconds INTEGER NOT NULL,
    idle_seconds INTEGER NOT NULL,
    may_reuse INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    used_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    PRIMARY KEY (function_name, qualifier, session_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heartbeat (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    boot_id TEXT NOT NULL,
    mono_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL
) STRICT;
"""


class Database:
    """One connection, used from the pool's thread only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self.mapped():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            with self.mapped():
                self._prepare()
        except TickoverError:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA busy_timeout = 10000")
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; a power cut loses the last moments of the meter at most.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)
        found = self._connection.execute("SELECT value FROM pool_meta WHERE name = 'schema'").fetchone()
        if found is None:
            self._connection.execute("INSERT INTO pool_meta VALUES ('schema', '1')")
        elif int(found[0]) > SCHEMA_VERSION:
            raise TickoverError(
                "host-db-newer",
                "Host database is newer",
                f"{self._path} was written by a newer tickover (schema {found[0]}, known {SCHEMA_VERSION}).",
                hint="upgrade tickover",
            )

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Errors of the database and of its file, in the house form."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise TickoverError(
                "host-db-failed",
                "Host database cannot be used",
                f"{self._path}: {error}. Check that the disk has room and the folder can be written.",
                exit_code=Exit.ERROR,
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements of the block, or none."""
        with self.mapped():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def mark(self, connection: sqlite3.Connection) -> None:
        """In a transaction that writes what only this schema has: older hosts refuse the file from then on.

        Not before: until then a host that is replaced can go on if its successor fails.
        """
        connection.execute("UPDATE pool_meta SET value = ? WHERE name = 'schema'", (str(SCHEMA_VERSION),))

    def insert(self, statement: str, values: tuple[Any, ...]) -> int:
        """One row; its id. Inside a transaction it belongs to that."""
        row = self._connection.execute(statement, values).lastrowid
        if row is None:
            raise sqlite3.DatabaseError("the insert gave no row")
        return row

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self.mapped():
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        self._connection.close()

"""Declared objects on disk.

Owns: the tables `declared` and `host_meta` of host.db. Promises: every mutation is one transaction that
is durable when the call returns, and a database that cannot be read is left as it is. Never: judges what
an object says.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tickover.errors import Exit, TickoverError

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS declared (
    kind TEXT NOT NULL,
    parent TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    meta TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    PRIMARY KEY (kind, parent, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS host_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""


class Kind(Enum):
    """What an object is. Parent: the function of a version, alias, trigger or provision config, or none."""

    FUNCTION = "function"
    VERSION = "version"
    ALIAS = "alias"
    TRIGGER = "trigger"
    DOMAIN = "domain"
    PROVISION = "provision"
    CONCURRENCY = "concurrency"


Key = tuple[Kind, str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One declared object.

    body: what was declared, FC's wire names. meta: what the host keeps beside it (ids, counters).
    """

    kind: Kind
    parent: str
    name: str
    body: dict[str, Any]
    meta: dict[str, Any]
    created_ns: int
    modified_ns: int

    @property
    def key(self) -> Key:
        return (self.kind, self.parent, self.name)


class Store:
    """The one connection that writes declared objects."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._mapped():
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            with self._mapped():
                self._prepare()
        except TickoverError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA busy_timeout = 10000")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        verdict = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict is None or verdict[0] != "ok":
            raise sqlite3.DatabaseError(str(verdict[0]) if verdict else "no answer from quick_check")
        self._db.executescript(_SCHEMA)
        found = self._db.execute("SELECT value FROM host_meta WHERE name = 'declared_schema'").fetchone()
        if found is None:
            self._db.execute("INSERT INTO host_meta VALUES ('declared_schema', ?)", (str(SCHEMA_VERSION),))
        elif int(found[0]) > SCHEMA_VERSION:
            raise TickoverError(
                "host-db-newer",
                "Host database is newer",
                f"{self._path} was written by a newer tickover (schema {found[0]}, known {SCHEMA_VERSION}).",
                hint="upgrade tickover, or use another data home: TICKOVER_HOME=DIR tickover host start",
            )

    def rows(self) -> tuple[Row, ...]:
        """Everything declared, sorted by key."""
        with self._mapped():
            found = self._db.execute(
                "SELECT kind, parent, name, body, meta, created_ns, modified_ns FROM declared "
                "ORDER BY kind, parent, name"
            ).fetchall()
            return tuple(
                Row(Kind(k), p, n, json.loads(b), json.loads(m), c, t) for k, p, n, b, m, c, t in found
            )

    def write(self, puts: tuple[Row, ...] = (), deletes: tuple[Key, ...] = ()) -> None:
        """Apply all or nothing."""
        with self._mapped(), self._transaction():
            for kind, parent, name in deletes:
                self._db.execute(
                    "DELETE FROM declared WHERE kind = ? AND parent = ? AND name = ?",
                    (kind.value, parent, name),
                )
            for row in puts:
                self._db.execute(
                    "INSERT OR REPLACE INTO declared VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        row.kind.value,
                        row.parent,
                        row.name,
                        json.dumps(row.body, sort_keys=True),
                        json.dumps(row.meta, sort_keys=True),
                        row.created_ns,
                        row.modified_ns,
                    ),
                )

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself after a full disk
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        """SQLite's failures as the errors a person can act on."""
        try:
            yield
        except sqlite3.Error as err:
            raise database_error(self._path, err) from err
        except (json.JSONDecodeError, ValueError) as err:
            raise database_error(self._path, sqlite3.DatabaseError(f"unreadable row: {err}")) from err


def database_error(path: Path, err: sqlite3.Error) -> TickoverError:
    """What went wrong with the host's database, by SQLite's own code."""
    code = getattr(err, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    match primary:
        case sqlite3.SQLITE_FULL:
            return TickoverError(
                "disk-full",
                "No space left on disk",
                f"Writing {path} failed: {err}. Nothing was changed; running instances go on.",
                hint=f"free some space on the file system of {path.parent}, then try again",
                exit_code=Exit.RESOURCE,
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            return TickoverError(
                "data-dir-unwritable",
                "Host data folder cannot be written",
                f"Opening or writing {path} failed: {err}. Nothing was changed.",
                hint=f"ls -ld {path.parent}    # give yourself write access, or set TICKOVER_HOME",
                exit_code=Exit.RESOURCE,
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return TickoverError(
                "host-db-busy",
                "Host database is busy",
                f"Another process holds {path} for more than 10 seconds.",
                retry_after_seconds=5,
            )
        case _:
            return TickoverError(
                "host-db-broken",
                "Host database is broken",
                f"{path} cannot be used: {err}. It was left as it is.",
                hint=f"mv {path} {path}.broken    # then start the host again and run tickover up --refresh",
                exit_code=Exit.RESOURCE,
            )

"""Sessions on disk: what the next host has to know of them.

Owns: the table `session`. Promises: a session is in it before anybody is told its id; a kill loses at most
when a session was last used. Never: decides when one is over.
"""

from __future__ import annotations

from collections.abc import Iterable

from tickover.host.db import Database
from tickover.host.instance import PoolKey
from tickover.host.sessions import Session, SessionKey, Terms

_COLUMNS = (
    "function_name, qualifier, session_id, instance_id, kind, ttl_seconds, idle_seconds, may_reuse, "
    "created_ns, modified_ns, used_ns, ended_ns"
)


class SessionRecords:
    """The rows of this host's sessions."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def load(self) -> list[Session]:
        return [
            Session(
                key=SessionKey(PoolKey(row[0], row[1]), row[2]),
                instance_id=row[3],
                terms=Terms(row[4], row[5], row[6], bool(row[7])),
                created_ns=row[8],
                modified_ns=row[9],
                used_ns=row[10],
                ended_ns=row[11],
                told=True,
            )
            for row in self._db.rows(f"SELECT {_COLUMNS} FROM session ORDER BY created_ns")
        ]

    def write(self, puts: Iterable[Session], deletes: Iterable[Session] = ()) -> None:
        """All or nothing."""
        rows = [
            (
                *_name(s),
                s.instance_id,
                s.terms.kind,
                s.terms.ttl_seconds,
                s.terms.idle_seconds,
                int(s.terms.may_reuse),
                s.created_ns,
                s.modified_ns,
                s.used_ns,
                s.ended_ns,
            )
            for s in puts
        ]
        gone = [_name(session) for session in deletes]
        with self._db.transaction() as connection:
            connection.executemany(
                "DELETE FROM session WHERE function_name = ? AND qualifier = ? AND session_id = ?", gone
            )
            connection.executemany(
                f"INSERT OR REPLACE INTO session ({_COLUMNS}) VALUES ({', '.join('?' * 12)})", rows
            )

    def close(self) -> None:
        self._db.close()


def _name(session: Session) -> tuple[str, str, str]:
    return session.key.pool.function_name, session.key.pool.qualifier, session.key.session_id

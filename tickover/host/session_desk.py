"""Requests of sessions meet instances: the sessions of one host at work.

Owns: the session table, its rows on disk and the seats of requests in sessions. Promises: a session is on
disk before its id is told; a request goes to its session's instance while that takes requests; a session that
nobody was told of goes with its request. Never: picks an instance (the pool's desk does), writes an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import structlog

from tickover.errors import TickoverError
from tickover.fc.function import Function
from tickover.host.affinity import (
    Affinity,
    Named,
    affinity_of,
    expired,
    id_in_answer,
    id_in_first_event,
    named,
    telling,
)
from tickover.host.clock import Clock
from tickover.host.handover import HandedOver
from tickover.host.http import Head, Headers, HttpError
from tickover.host.instance import PoolKey
from tickover.host.model import InstanceGone, Lease, Leases
from tickover.host.session_records import SessionRecords
from tickover.host.sessions import Session, SessionKey, SessionTable, Terms

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 5.0
MOVES = 5  # instances of a session that may end while one request waits for them


class SessionDesk:
    """All sessions of a host."""

    def __init__(self, records: SessionRecords, clock: Clock) -> None:
        self._records = records
        self.clock = clock
        self.table = SessionTable(records.load())
        self._rules: dict[PoolKey, tuple[Function, Affinity | None]] = {}
        self._flusher: asyncio.Task[None] | None = None
        self.is_closed = False

    # -- open and close --------------------------------------------------------------------------------

    def open(self) -> None:
        self._flusher = asyncio.get_running_loop().create_task(self._flush_for_ever())

    async def close(self) -> None:
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        with contextlib.suppress(TickoverError):  # the disk is full: what was told is on it
            self.flush()
        self._records.close()
        self.is_closed = True

    async def _flush_for_ever(self) -> None:
        while True:
            await self.clock.sleep(FLUSH_SECONDS)
            try:
                self.flush()
            except TickoverError as error:
                log.warning("sessions not written", error=error.detail)

    def flush(self) -> None:
        """Write when sessions were last used; forget old ones."""
        now = self.clock.wall_ns()
        self.table.sweep(None, None, now)
        dirty, old = self.table.dirty(), self.table.forget(now)
        if dirty or old:
            self._records.write(dirty, old)
            for session in dirty:
                session.is_dirty = False

    def save(self, *sessions: Session) -> None:
        self._records.write(sessions)

    def rename(self, session: Session, session_id: str) -> None:
        self.table.rename(session, session_id)

    # -- requests --------------------------------------------------------------------------------------

    def affinity(self, key: PoolKey, spec: Function) -> Affinity | None:
        known = self._rules.get(key)
        if known is None or known[0] is not spec:
            known = self._rules[key] = (spec, affinity_of(spec))
        return known[1]

    def seat(self, key: PoolKey, spec: Function, head: Head, target: str) -> Seat | None:
        """The seat of a request in its session; None if it has to do with none. Raises HttpError."""
        affinity = self.affinity(key, spec)
        if affinity is None:
            return None
        who = named(affinity, head, target)
        if isinstance(who, HttpError):
            raise who
        if not who.session_id and not who.opens:
            return None
        return Seat(self, key, affinity, who)


class Seat:
    """One request in its session; also the pool's `Place`, and the watcher of its answer."""

    def __init__(self, desk: SessionDesk, pool: PoolKey, affinity: Affinity, who: Named) -> None:
        self._desk = desk
        self._affinity = affinity
        self._who = who
        self._session: Session | None = None
        self._event = b""
        self._is_open = False  # an SSE stream that has not named its session yet
        self._tells = False
        self.terms = affinity.terms
        self._key = SessionKey(pool, who.session_id)
        self._choose_key()

    def _choose_key(self) -> None:
        """The id that this request's session has, if it begins one or not."""
        pool, asked = self._key.pool, self._who.session_id
        if asked and self._living() is None:
            is_unknown_cookie = self._affinity.kind == "GENERATED_COOKIE" and not self._desk.table.is_known(
                self._key
            )
            if self._affinity.minted_inside or self._desk.table.is_barred(self._key):
                raise expired(asked)
            asked = "" if is_unknown_cookie else asked
            self._tells = self._affinity.kind == "GENERATED_COOKIE"  # again, with a new Max-Age
        if not asked:
            self._key = SessionKey(pool, str(uuid.uuid4()))
            self._tells = not self._affinity.minted_inside

    def _living(self) -> Session | None:
        found = self._desk.table.find(self._key, self._desk.clock.wall_ns())
        if found is not None and found.terms.kind != self._affinity.kind:
            self._desk.table.end(found, self._desk.clock.wall_ns())
            return None
        return found

    @property
    def key(self) -> SessionKey:
        return self._key

    # -- what the pool asks ----------------------------------------------------------------------------

    @property
    def instance_id(self) -> str | None:
        found = self._living()
        return found.instance_id if found is not None else None

    def admits(self, instance_id: str) -> bool:
        found = self._living()
        if found is not None:
            return found.instance_id == instance_id
        return self._desk.table.has_room(instance_id, self._affinity.slots, self._desk.clock.wall_ns())

    def taken(self, instance_id: str) -> None:
        """Granted there: the session begins, if it has not."""
        if self._living() is None:
            self._desk.table.bind(self._key, instance_id, self.terms, self._desk.clock.wall_ns())

    # -- the request's life ----------------------------------------------------------------------------

    async def lease(self, pool: Leases, request_id: str = "") -> Lease:
        """A lease on the session's instance, on another one when that is gone. Raises Refused, HttpError,
        HandedOver: then the session has to be looked up anew, with the next owner."""
        name = self._key.pool
        for _ in range(MOVES):
            try:
                lease = await pool.acquire(
                    name.function_name,
                    name.qualifier,
                    request_id=request_id,
                    session=self._key.session_id,
                    place=self,
                )
            except InstanceGone as gone:
                self._moved(gone.instance_id)
                continue
            except asyncio.CancelledError:
                self._drop_if_untold()
                raise
            session = self._living() or self._bound(lease)
            session.in_flight += 1
            session.used_ns = self._desk.clock.wall_ns()
            session.is_dirty = True
            self._session = session
            return lease
        raise HttpError(503, "ServiceUnavailable", "the instances of this session end one after another", 1)

    def _bound(self, lease: Lease) -> Session:
        """It ended between its grant and now."""
        return self._desk.table.bind(self._key, lease.instance_id, self.terms, self._desk.clock.wall_ns())

    def _moved(self, instance_id: str) -> None:
        """Its instance is gone, and the session with it: begin anew, or say that it is over."""
        found = self._living()
        if found is not None and found.instance_id == instance_id:
            self._desk.table.end(found, self._desk.clock.wall_ns())
        if self._who.session_id and not self._tells:
            self._choose_key()

    def left(self) -> None:
        """The request is over; with it a session that nobody was told of, or whose SSE stream it was."""
        session, self._session = self._session, None
        if session is None:
            return
        session.in_flight -= 1
        session.used_ns = self._desk.clock.wall_ns()
        session.is_dirty = True
        if not session.told and not session.in_flight:
            self._desk.table.drop(session)
        elif self._affinity.kind == "MCP_SSE" and self._who.opens:
            self._desk.table.end(session, session.used_ns)

    def _drop_if_untold(self) -> None:
        found = self._living()
        if found is not None and not found.told and not found.in_flight:
            self._desk.table.drop(found)

    # -- the answer ------------------------------------------------------------------------------------

    def on_head(self, status: int, headers: Headers) -> Headers:
        """Before the caller sees the answer: the session is kept, and its id told. What to add."""
        session = self._session
        if session is None:
            return ()
        if self._who.ends and 200 <= status < 300:
            self._desk.table.end(session, self._desk.clock.wall_ns())
            return ()
        if session.told:
            return ()
        if self._affinity.kind == "MCP_SSE":
            self._is_open = True
            return ()
        if self._affinity.minted_inside:
            if found := id_in_answer(headers):
                self._name(session, found)
            return ()
        if not self._keep(session):
            return ()  # not told: it goes with its request
        return telling(self._affinity, session.key.session_id) if self._tells else ()

    def on_body(self, data: bytes) -> None:
        """The beginning of an SSE stream, which names its session; before the caller sees it."""
        if not self._is_open:
            return
        self._event += data
        found = id_in_first_event(self._event)
        if found is None:
            return
        self._is_open, self._event = False, b""
        if found and self._session is not None:
            self._name(self._session, found)

    def _name(self, session: Session, session_id: str) -> None:
        self._desk.rename(session, session_id)
        session.told = True  # by the server itself, whatever becomes of the file
        self._keep(session)

    def _keep(self, session: Session) -> bool:
        """Whether it is on disk now. An answer is not lost for want of that."""
        if self._desk.is_closed:
            log.info("session not kept: the host was replaced", pool=str(session.key.pool))
            return False
        try:
            self._desk.save(session)
        except TickoverError as error:
            log.error("session not kept", pool=str(session.key.pool), error=error.detail)
            return False
        session.told = True
        return True


async def begin(
    desk: SessionDesk, pool: Leases, key: PoolKey, affinity: Affinity, session_id: str, terms: Terms
) -> Session:
    """A session without a request: an instance is chosen (and woken) for it. Raises Refused, HttpError."""
    seat = Seat(desk, key, affinity, Named(session_id, opens=True))
    seat.terms = terms
    try:
        lease = await seat.lease(pool)
    except HandedOver as moved:
        raise _replaced() from moved
    try:
        seat.on_head(200, ())
        found = next((s for s in desk.table.all(key) if s.key == seat.key), None)
    finally:
        pool.release(lease)
        seat.left()
    if found is None and desk.is_closed:  # handed over between its grant and now
        raise _replaced()
    if found is None:
        raise HttpError(500, "InternalServerError", "the session could not be kept; see host.log")
    return found


def _replaced() -> HttpError:
    return HttpError(503, "ServiceUnavailable", "the host was replaced; ask again", 1)

"""Sessions: which session is on which instance, and until when.

Owns: the table of sessions in memory. Promises: an answer is a function of the table and the given time; no
instance has more living sessions than its function allows; a session on an instance ends with it. Never:
reads a clock, writes a file, knows HTTP.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tickover.host.clock import SECOND_NS
from tickover.host.instance import PoolKey

KEPT_ENDED = 10_000  # ended sessions that are remembered: their ids may not be used again, and can be listed
KEPT_ENDED_NS = 6 * 3600 * SECOND_NS


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """A session of one qualifier of one function."""

    pool: PoolKey
    session_id: str


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a session lives. idle_seconds 0: it ends at its greatest age only."""

    kind: str
    ttl_seconds: int
    idle_seconds: int
    may_reuse: bool = True


@dataclass(slots=True, eq=False)
class Session:
    """Times are wall-clock nanoseconds: they outlive the host. told: somebody may know its id."""

    key: SessionKey
    instance_id: str
    terms: Terms
    created_ns: int
    modified_ns: int
    used_ns: int
    ended_ns: int | None = None
    in_flight: int = 0
    told: bool = False
    is_dirty: bool = field(default=False, repr=False)  # used since it was last written

    def end_ns(self) -> int | None:
        """When it ends if nothing more comes."""
        if self.ended_ns is not None:
            return self.ended_ns
        hard = self.created_ns + self.terms.ttl_seconds * SECOND_NS
        if not self.terms.idle_seconds or self.in_flight:
            return hard
        return min(hard, self.used_ns + self.terms.idle_seconds * SECOND_NS)

    def lives(self, now_ns: int) -> bool:
        end = self.end_ns()
        return end is None or now_ns < end


class SessionTable:
    """Living sessions by id and by instance; ended ones for a while."""

    def __init__(self, sessions: Iterable[Session] = ()) -> None:
        self._living: dict[SessionKey, Session] = {}
        self._ended: OrderedDict[SessionKey, Session] = OrderedDict()
        self._by_instance: dict[str, dict[SessionKey, Session]] = defaultdict(dict)
        for session in sessions:
            if session.ended_ns is None:
                self._add(session)
            else:
                self._ended[session.key] = session

    def find(self, key: SessionKey, now_ns: int) -> Session | None:
        """The living session of this id."""
        session = self._living.get(key)
        if session is not None and not session.lives(now_ns):
            self.end(session, now_ns)
            return None
        return session

    def is_barred(self, key: SessionKey) -> bool:
        """Whether this id belonged to a session that said that it must not come back."""
        former = self._ended.get(key)
        return former is not None and not former.terms.may_reuse

    def is_known(self, key: SessionKey) -> bool:
        return key in self._living or key in self._ended

    def count(self, instance_id: str) -> int:
        """Sessions on an instance; some may be over without anybody having looked."""
        there = self._by_instance.get(instance_id)
        return len(there) if there else 0

    def has_room(self, instance_id: str, limit: int, now_ns: int) -> bool:
        there = self._by_instance.get(instance_id)
        if there is None or len(there) < limit:
            return True
        for session in [s for s in there.values() if not s.lives(now_ns)]:
            self.end(session, now_ns)
        return self.count(instance_id) < limit

    def bind(self, key: SessionKey, instance_id: str, terms: Terms, now_ns: int) -> Session:
        """A new session on an instance."""
        session = Session(key, instance_id, terms, now_ns, now_ns, now_ns)
        self._ended.pop(key, None)
        self._add(session)
        return session

    def rename(self, session: Session, session_id: str) -> None:
        """The server behind the door has chosen the id."""
        self.drop(session)
        session.key = SessionKey(session.key.pool, session_id)
        if (former := self._living.get(session.key)) is not None:
            self.drop(former)
        self._ended.pop(session.key, None)
        self._add(session)

    def end(self, session: Session, now_ns: int) -> None:
        """It is over; remembered for a while if anybody knew of it."""
        self.drop(session)
        if session.ended_ns is None:
            session.ended_ns = min(now_ns, session.end_ns() or now_ns)
        session.is_dirty = True
        if session.told:
            self._ended[session.key] = session

    def drop(self, session: Session) -> None:
        """Out of the living, as if it had never been."""
        if self._living.get(session.key) is session:
            del self._living[session.key]
        there = self._by_instance.get(session.instance_id)
        if there is not None and there.get(session.key) is session:
            del there[session.key]
            if not there:
                del self._by_instance[session.instance_id]

    def sweep(self, pool: PoolKey | None, living_instances: frozenset[str] | None, now_ns: int) -> None:
        """End what is over and what has lost its instance (None: not looked at)."""
        for session in list(self._living.values()):
            if pool not in (None, session.key.pool):
                continue
            is_orphan = living_instances is not None and session.instance_id not in living_instances
            if is_orphan or not session.lives(now_ns):
                self.end(session, now_ns)

    def forget(self, now_ns: int) -> list[Session]:
        """Ended ones that are remembered no more."""
        old = [s for s in self._ended.values() if (s.ended_ns or 0) + KEPT_ENDED_NS <= now_ns]
        excess = len(self._ended) - len(old) - KEPT_ENDED
        if excess > 0:
            rest = [s for s in self._ended.values() if (s.ended_ns or 0) + KEPT_ENDED_NS > now_ns]
            old += sorted(rest, key=lambda s: s.ended_ns or 0)[:excess]
        for session in old:
            del self._ended[session.key]
        return old

    def all(self, pool: PoolKey) -> list[Session]:
        """Living and ended ones, by id."""
        found = [*self._living.values(), *self._ended.values()]
        return sorted((s for s in found if s.key.pool == pool and s.told), key=lambda s: s.key)

    def dirty(self) -> list[Session]:
        return [s for s in (*self._living.values(), *self._ended.values()) if s.is_dirty and s.told]

    def _add(self, session: Session) -> None:
        self._living[session.key] = session
        self._by_instance[session.instance_id][session.key] = session

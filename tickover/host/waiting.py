"""Requests that wait for an instance.

Owns: the queue of one pool. Promises: first come, first served; a request that gave up leaves at once and
gets nothing. Never: decides who serves (`admission` does).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tickover.host.model import Lease, Place, Prefix


@dataclass(slots=True, eq=False)
class Waiter:
    """One waiting request. since_ns: monotonic."""

    request_id: str
    since_ns: int
    queue: WaitQueue = field(repr=False)  # where it waits now
    grant: asyncio.Future[Lease] = field(repr=False)
    place: Place | None = None
    prefix: Prefix | None = None


class WaitQueue:
    """A pool's waiting requests in the order they came."""

    def __init__(self) -> None:
        self._waiters: deque[Waiter] = deque()
        self.has_places = False  # somebody waits for certain instances, or has while it was not empty

    def __len__(self) -> int:
        return len(self._waiters)

    def join(
        self,
        now_ns: int,
        request_id: str = "",
        place: Place | None = None,
        prefix: Prefix | None = None,
    ) -> Waiter:
        grant: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        waiter = Waiter(request_id, now_ns, self, grant, place, prefix)
        self.has_places = place is not None or (self.has_places and bool(self._waiters))
        self._waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Gave up. One that has been served is not in the queue any more, which is no mistake."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def __iter__(self) -> Iterator[Waiter]:
        """The next to serve first."""
        return (waiter for waiter in self._waiters if not waiter.grant.done())

    def take_over(self, other: WaitQueue) -> None:
        """All who wait elsewhere wait here now, as if they always had."""
        for waiter in other._waiters:
            waiter.queue = self
        self.has_places = self.has_places or other.has_places
        self._waiters = deque(sorted((*self._waiters, *other._waiters), key=lambda waiter: waiter.since_ns))
        other._waiters.clear()

    def first(self) -> Waiter | None:
        """The next to serve; it leaves the queue."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.grant.done():
                return waiter
        return None

    def refuse_all(self, refusal: Callable[[], Exception]) -> None:
        """Send everybody away, each with an exception of its own."""
        while (waiter := self.first()) is not None:
            waiter.grant.set_exception(refusal())

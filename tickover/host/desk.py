"""Requests meet instances: grants, queues, refusals.

Owns: the leases that are out, the queues, and the count of who went to which version. Promises: an instance's
in-flight count is the number of its leases; a lease that its taker did not live to receive is taken back; who
waits is served in order of arrival as soon as there is room, by the other version if its own one goes. Never:
starts an instance, changes a state but by telling an event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

import structlog

from tickover.host import admission
from tickover.host.canary import Splitter
from tickover.host.clock import Clock
from tickover.host.handover import HandedOver
from tickover.host.instance import SLEEPING, Instance, PoolKey, PoolSettings
from tickover.host.model import InstanceGone, InstanceState, Lease, Place, Prefix, Refused, Waiting
from tickover.host.prefix import PrefixTable
from tickover.host.roster import Roster
from tickover.host.states import ENDED, ENDING, LADEN, LIVING, Event
from tickover.host.waiting import Waiter, WaitQueue

log = structlog.get_logger(__name__)


class Desk:
    """Hands out leases on the instances of a roster."""

    def __init__(
        self,
        roster: Roster,
        clock: Clock,
        settings: PoolSettings,
        happened: Callable[[Instance, Event, str], None],
        host_of: Callable[[Instance], str],
    ) -> None:
        self._roster = roster
        self._clock = clock
        self._settings = settings
        self._happened = happened
        self._host_of = host_of
        self._queues: dict[PoolKey, WaitQueue] = defaultdict(WaitQueue)
        self._leases: dict[int, tuple[Lease, Instance]] = {}
        self._returning: dict[int, Lease] = {}  # of a former owner, on instances that are not up now
        self._splitter = Splitter()
        self._prefixes = PrefixTable()

    def acquire_now(self, key: PoolKey) -> Lease | None:
        """A lease if there is room, nobody waits for it, and there is one version that it can be on."""
        return None if key in self._roster.canaries else self._free(key, None)

    def changed(self, instance: Instance) -> None:
        """An instance is in another state, or has room: look at who waits."""
        if instance.rung in SLEEPING or instance.state in ENDED:  # a server's sleep empties its cache
            self._prefixes.forget(instance.instance_id)
        self.pump(instance.key)

    def _free(self, key: PoolKey, place: Place | None, prefix: Prefix | None = None) -> Lease | None:
        queue = self._queues.get(key)
        if queue and (place is None or not self._is_next(place, queue)):
            return None
        instance = self._pick(key, place, prefix)
        return None if instance is None else self._grant(instance, self._clock.mono_ns(), place, prefix)

    def _pick(self, key: PoolKey, place: Place | None, prefix: Prefix | None) -> Instance | None:
        there, revision = self._among(key, place), self._roster.revision(key)
        if prefix is None:
            return admission.pick(there, revision)
        return admission.pick(there, revision, self._prefixes.order(prefix, there))

    def enter(
        self,
        key: PoolKey,
        request_id: str = "",
        session: str = "",
        place: Place | None = None,
        prefix: Prefix | None = None,
    ) -> Lease | Waiter:
        """A lease at once if there is room, else a place in the queue. Raises Refused, InstanceGone."""
        key = self._lane(key, session, place)
        lease = self._free(key, place, prefix)
        if lease is not None:
            return lease
        if place is not None:
            self._check_place(key, place)
        queue = self._queues[key]
        refused = self._refusal(key, len(queue))
        if refused is not None:
            raise refused
        waiter = queue.join(self._clock.mono_ns(), request_id, place, prefix)
        self.pump(key)
        phase = admission.phase(self._roster.of(key))
        if phase != InstanceState.BUSY.value and not waiter.grant.done():
            log.info("waiting", request=request_id, pool=str(key), position=len(queue), phase=phase)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer; no mistake for one that has been served."""
        waiter.queue.leave(waiter)

    async def acquire(
        self,
        key: PoolKey,
        request_id: str = "",
        session: str = "",
        place: Place | None = None,
        prefix: Prefix | None = None,
    ) -> Lease:
        """A lease at once if there is room, else in turn. Raises Refused, InstanceGone."""
        entered = self.enter(key, request_id, session, place, prefix)
        if isinstance(entered, Lease):
            return entered
        try:
            async with asyncio.timeout(self._settings.queue_wait_seconds):
                return await self._granted(entered)
        except TimeoutError:
            raise admission.waited_too_long(key, self._settings) from None
        finally:
            self.leave(entered)

    def _lane(self, key: PoolKey, session: str, place: Place | None) -> PoolKey:
        """The pool of the version that a request goes to: that of its session's instance, else by weight. A
        version that nobody serves yet gets none as long as the other one is up, and is owed none later."""
        canary = self._roster.canaries.get(key)
        if canary is not None and place is not None and (only := place.instance_id) is not None:
            own = self._roster.instances.get(only)
            return key if own is None else own.key
        if canary is None or not self._roster.is_up(key.other):
            return key
        if not self._roster.is_up(key) or self._splitter.to_canary(key, canary.weight, session):
            return key.other
        return key

    async def _granted(self, waiter: Waiter) -> Lease:
        try:
            return await waiter.grant
        except asyncio.CancelledError:
            if waiter.grant.done() and not waiter.grant.cancelled() and waiter.grant.exception() is None:
                self.give_back(waiter.grant.result())  # granted and cancelled in the same turn of the loop
            raise

    def holder(self, lease: Lease) -> Instance | None:
        """The instance that a lease is on; None if that was gone when its leases were taken over."""
        found = self._leases.get(id(lease))
        return None if found is None else found[1]

    def assume(self, lease: Lease) -> None:
        """Count a lease that a former owner has granted, if what it is on goes on."""
        instance = self._roster.instances.get(lease.instance_id)
        if instance is None or instance.state in ENDING - LADEN:
            return
        if instance.state not in LADEN | {InstanceState.READY}:
            self._returning[id(lease)] = lease  # it is counted as soon as the instance is up
            return
        self._returning.pop(id(lease), None)
        self._leases[id(lease)] = (lease, instance)
        instance.in_flight += 1
        if instance.state is InstanceState.READY:
            self._happened(instance, Event.ADMITTED, "")

    def resume(self) -> None:
        """Count the leases whose instances were not up, and wake those that are idle."""
        for lease in list(self._returning.values()):
            instance = self._roster.instances.get(lease.instance_id)
            if instance is None:
                del self._returning[id(lease)]
            elif instance.state is InstanceState.IDLE:
                self._happened(instance, Event.WAKE_ASKED, "")
            elif id(lease) in self._returning:  # else it was counted in one of the steps before
                self.assume(lease)

    def hand_over(self) -> tuple[Lease, ...]:
        """The leases that are out, for the next owner; whoever waits is told to ask that one."""
        for queue in self._queues.values():
            queue.refuse_all(HandedOver)
        return (*(lease for lease, _ in self._leases.values()), *self._returning.values())

    def give_back(self, lease: Lease) -> None:
        """The lease is over."""
        self._returning.pop(id(lease), None)
        _, instance = self._leases.pop(id(lease), (lease, None))
        if instance is None:
            return
        instance.in_flight -= 1
        if instance.in_flight == 0:
            self._happened(instance, Event.EMPTIED, "")
        else:
            self.pump(instance.key)

    def pump(self, key: PoolKey) -> None:
        """Serve who waits, as far as there is room; wake who is needed; send away who waits in vain."""
        if self._returning:
            self.resume()
        queue = self._queues.get(key)
        if not queue:
            return
        if self._is_left(key):
            self._queues[key.other].take_over(queue)
            self.pump(key.other)
            return
        self._serve(key, queue)
        self._wake(key, queue)
        refused = self._refusal(key, 0) if len(queue) else None
        if refused is not None:
            # One exception for each: a shared one would collect the tracebacks of all.
            queue.refuse_all(partial(replace, refused))

    def _serve(self, key: PoolKey, queue: WaitQueue) -> None:
        if not queue.has_places:
            while (first := next(iter(queue), None)) is not None:
                instance = self._pick(key, None, first.prefix)
                if instance is None:
                    return
                queue.first()
                first.grant.set_result(self._grant(instance, first.since_ns, None, first.prefix))
            return
        is_full = False
        for waiter in tuple(queue):
            if waiter.grant.done() or (is_full and waiter.place is None):
                continue  # a grant may have served others in between
            instance = self._pick(key, waiter.place, waiter.prefix)
            if instance is not None:
                queue.leave(waiter)
                lease = self._grant(instance, waiter.since_ns, waiter.place, waiter.prefix)
                waiter.grant.set_result(lease)
            elif waiter.place is None:
                is_full = True
            elif (only := waiter.place.instance_id) is not None and not self._takes(only):
                queue.leave(waiter)
                waiter.grant.set_exception(InstanceGone(only))

    def _wake(self, key: PoolKey, queue: WaitQueue) -> None:
        """Wake who is needed by those who wait: sessions' own instances, then as many as the rest takes."""
        revision = self._roster.revision(key)
        free = 0 if queue.has_places else len(queue)
        beginning: list[Place] = []  # of new sessions
        for waiter in tuple(queue) if queue.has_places else ():
            if waiter.place is None:
                free += 1
            elif (only := waiter.place.instance_id) is None:
                beginning.append(waiter.place)
            elif (own := self._roster.instances.get(only)) and own.state is InstanceState.IDLE:
                self._happened(own, Event.WAKE_ASKED, "")
        first = next((waiter.prefix for waiter in queue if waiter.place is None), None)
        there = list(self._roster.of(key))
        if first is None:
            chosen = admission.to_wake(there, revision, free)
        else:
            chosen = admission.to_wake(there, revision, free, partial(self._prefixes.worth, first))
        if beginning:
            chosen += admission.to_wake(list(self._among(key, beginning[0])), revision, len(beginning))
        for instance in chosen:
            if instance.state is InstanceState.IDLE:
                self._happened(instance, Event.WAKE_ASKED, "")

    def _among(self, key: PoolKey, place: Place | None) -> Collection[Instance]:
        """The instances that a request may go to."""
        there = self._roster.of(key)
        if place is None:
            return there
        only = place.instance_id
        if only is not None:
            found = self._roster.instances.get(only)
            return () if found is None else (found,)
        return [i for i in there if place.admits(i.instance_id)]

    def _is_next(self, place: Place, queue: WaitQueue) -> bool:
        """Whether nobody who waits could be wanting the instance of this session."""
        only = place.instance_id
        if only is None:
            return False
        return all(
            waiter.place is not None and waiter.place.instance_id not in (None, only) for waiter in queue
        )

    def _takes(self, instance_id: str) -> bool:
        """Whether an instance takes requests, now or later."""
        found = self._roster.instances.get(instance_id)
        return found is not None and found.state in LIVING

    def _check_place(self, key: PoolKey, place: Place) -> None:
        """Raise if waiting is in vain: its instance is gone, or no instance has room for a session."""
        only = place.instance_id
        if only is not None:
            if not self._takes(only):
                raise InstanceGone(only)
            return
        living = [i for i in self._roster.of(key) if i.state in LIVING]
        pool = self._roster.pools.get(key)
        is_whole = pool is not None and len(living) >= pool.target
        if living and is_whole and not any(place.admits(i.instance_id) for i in living):
            raise admission.no_session_room(key)

    def _is_left(self, key: PoolKey) -> bool:
        """Whether who waits for this version is better served by the other one: nobody serves it any more."""
        if key.is_canary and key not in self._roster.pools:
            return True
        has_two = key in self._roster.canaries or key.is_canary
        return has_two and not self._roster.is_up(key) and self._roster.is_up(key.other)

    def pump_all(self) -> None:
        self._splitter.keep(self._roster.canaries.keys())
        for key in list(self._queues):
            self.pump(key)

    def queued(self, function_name: str | None) -> tuple[Waiting, ...]:
        """Who waits, by pool in order of service."""
        now = self._clock.mono_ns()
        return tuple(
            Waiting(
                waiter.request_id, key.function_name, key.qualifier, position, now - waiter.since_ns, phase
            )
            for key, queue in sorted(self._queues.items())
            if function_name in (None, key.function_name)
            for phase in [admission.phase(self._roster.of(key))]
            for position, waiter in enumerate(queue, start=1)
        )

    def waiting(self) -> dict[tuple[str, str], int]:
        """(function, qualifier) → requests in its queues."""
        found: dict[tuple[str, str], int] = defaultdict(int)
        for key, queue in self._queues.items():
            found[key.function_name, key.qualifier] += len(queue)
        return found

    def close(self) -> None:
        """Send everybody away."""
        for queue in self._queues.values():
            queue.refuse_all(lambda: Refused(503, "ServiceUnavailable", "the host is stopping", 5))

    def _grant(
        self, instance: Instance, since_ns: int, place: Place | None, prefix: Prefix | None = None
    ) -> Lease:
        lease = Lease(
            instance_id=instance.instance_id,
            function_name=instance.key.function_name,
            qualifier=instance.key.qualifier,
            version_id=instance.version_id,
            host=self._host_of(instance),
            port=instance.port or 0,
            woke=instance.wake_mono_ns >= since_ns,
            waited_ns=self._clock.mono_ns() - since_ns,
            timeout_seconds=instance.spec.timeout,
        )
        self._leases[id(lease)] = (lease, instance)
        instance.in_flight += 1
        if prefix is not None:
            lease.prefix = "hit" if self._prefixes.is_hit(prefix, instance.instance_id) else "miss"
            self._prefixes.learn(prefix, instance.instance_id)
        if place is not None:
            place.taken(instance.instance_id)
        if instance.state is InstanceState.READY:
            self._happened(instance, Event.ADMITTED, "")
        return lease

    def _refusal(self, key: PoolKey, waiting: int) -> Refused | None:
        roster = self._roster
        pool = roster.pools.get(key)
        return admission.refusal(key, pool, list(roster.of(key)), roster.crash(key), waiting, self._settings)

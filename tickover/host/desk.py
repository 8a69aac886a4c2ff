"""Requests meet instances: grants, queues, refusals.

Owns: the leases that are out, the queues, and the count of who went to which version. Promises: an instance's
in-flight count is the number of its leases; a lease that its taker did not live to receive is taken back; who
waits is served in order of arrival as soon as there is room, by the other version if its own one goes. Never:
starts an instance, changes a state but by telling an event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from tickover.host import admission
from tickover.host.canary import Splitter
from tickover.host.clock import Clock
from tickover.host.handover import HandedOver
from tickover.host.instance import Instance, PoolKey, PoolSettings
from tickover.host.model import InstanceState, Lease, Refused, Waiting
from tickover.host.roster import Roster
from tickover.host.states import ENDING, LADEN, Event
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

    def acquire_now(self, key: PoolKey) -> Lease | None:
        """A lease if there is room, nobody waits for it, and there is one version that it can be on."""
        return None if key in self._roster.canaries else self._free(key)

    def _free(self, key: PoolKey) -> Lease | None:
        if self._queues.get(key):
            return None
        instance = admission.pick(self._roster.of(key), self._roster.revision(key))
        return None if instance is None else self._grant(instance, self._clock.mono_ns())

    def enter(self, key: PoolKey, request_id: str = "", session: str = "") -> Lease | Waiter:
        """A lease at once if there is room, else a place in the queue. Raises Refused."""
        key = self._lane(key, session)
        lease = self._free(key)
        if lease is not None:
            return lease
        queue = self._queues[key]
        refused = self._refusal(key, len(queue))
        if refused is not None:
            raise refused
        waiter = queue.join(self._clock.mono_ns(), request_id)
        self.pump(key)
        phase = admission.phase(self._roster.of(key))
        if phase != InstanceState.BUSY.value and not waiter.grant.done():
            log.info("waiting", request=request_id, pool=str(key), position=len(queue), phase=phase)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer; no mistake for one that has been served."""
        waiter.queue.leave(waiter)

    async def acquire(self, key: PoolKey, request_id: str = "", session: str = "") -> Lease:
        """A lease at once if there is room, else in turn. Raises Refused."""
        entered = self.enter(key, request_id, session)
        if isinstance(entered, Lease):
            return entered
        try:
            async with asyncio.timeout(self._settings.queue_wait_seconds):
                return await self._granted(entered)
        except TimeoutError:
            raise admission.waited_too_long(key, self._settings) from None
        finally:
            self.leave(entered)

    def _lane(self, key: PoolKey, session: str) -> PoolKey:
        """The pool of the version that a request goes to. A version that nobody serves yet gets none as long
        as the other one is up, and it is not owed them afterwards."""
        canary = self._roster.canaries.get(key)
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
        revision = self._roster.revision(key)
        while len(queue) and (instance := admission.pick(self._roster.of(key), revision)) is not None:
            waiter = queue.first()
            if waiter is None:
                return
            waiter.grant.set_result(self._grant(instance, waiter.since_ns))
        for instance in admission.to_wake(list(self._roster.of(key)), revision, len(queue)):
            self._happened(instance, Event.WAKE_ASKED, "")
        refused = self._refusal(key, 0) if len(queue) else None
        if refused is not None:
            # One exception for each: a shared one would collect the tracebacks of all.
            queue.refuse_all(partial(replace, refused))

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

    def _grant(self, instance: Instance, since_ns: int) -> Lease:
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
        if instance.state is InstanceState.READY:
            self._happened(instance, Event.ADMITTED, "")
        return lease

    def _refusal(self, key: PoolKey, waiting: int) -> Refused | None:
        roster = self._roster
        pool = roster.pools.get(key)
        return admission.refusal(key, pool, list(roster.of(key)), roster.crash(key), waiting, self._settings)

"""Requests meet instances: grants, queues, refusals.

Owns: the leases that are out and the queues. Promises: an instance's in-flight count is the number of its
leases; a lease that its taker did not live to receive is taken back; who waits is served in order of arrival
as soon as there is room. Never: starts an instance, changes a state but by telling an event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

import structlog

from tickover.host import admission
from tickover.host.clock import Clock
from tickover.host.instance import Instance, PoolKey, PoolSettings
from tickover.host.model import InstanceState, Lease, Refused, Waiting
from tickover.host.roster import Roster
from tickover.host.states import Event
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

    def acquire_now(self, key: PoolKey) -> Lease | None:
        """A lease if there is room and nobody waits for it."""
        if self._queues.get(key):
            return None
        instance = admission.pick(self._roster.of(key), self._roster.revision(key))
        return None if instance is None else self._grant(instance, self._clock.mono_ns())

    def enter(self, key: PoolKey, request_id: str = "") -> Lease | Waiter:
        """A lease at once if there is room, else a place in the queue. Raises Refused."""
        lease = self.acquire_now(key)
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

    def leave(self, key: PoolKey, waiter: Waiter) -> None:
        """Wait no longer; no mistake for one that has been served."""
        self._queues[key].leave(waiter)

    async def acquire(self, key: PoolKey, request_id: str = "") -> Lease:
        """A lease at once if there is room, else in turn. Raises Refused."""
        entered = self.enter(key, request_id)
        if isinstance(entered, Lease):
            return entered
        try:
            async with asyncio.timeout(self._settings.queue_wait_seconds):
                return await self._granted(entered)
        except TimeoutError:
            raise admission.waited_too_long(key, self._settings) from None
        finally:
            self.leave(key, entered)

    async def _granted(self, waiter: Waiter) -> Lease:
        try:
            return await waiter.grant
        except asyncio.CancelledError:
            if waiter.grant.done() and not waiter.grant.cancelled() and waiter.grant.exception() is None:
                self.give_back(waiter.grant.result())  # granted and cancelled in the same turn of the loop
            raise

    def holder(self, lease: Lease) -> Instance:
        """The instance that a lease is on."""
        return self._leases[id(lease)][1]

    def give_back(self, lease: Lease) -> None:
        """The lease is over."""
        _, instance = self._leases.pop(id(lease))
        instance.in_flight -= 1
        if instance.in_flight == 0:
            self._happened(instance, Event.EMPTIED, "")
        else:
            self.pump(instance.key)

    def pump(self, key: PoolKey) -> None:
        """Serve who waits, as far as there is room; wake who is needed; send away who waits in vain."""
        queue = self._queues.get(key)
        if not queue:
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
            queue.refuse_all(refused)

    def pump_all(self) -> None:
        for key in list(self._queues):
            self.pump(key)

    def queued(self, function_name: str | None) -> tuple[Waiting, ...]:
        """Who waits, by pool in order of service."""
        now = self._clock.mono_ns()
        return tuple(
            Waiting(waiter.request_id, *key, position, now - waiter.since_ns, phase)
            for key, queue in sorted(self._queues.items())
            if function_name in (None, key.function_name)
            for phase in [admission.phase(self._roster.of(key))]
            for position, waiter in enumerate(queue, start=1)
        )

    def waiting(self) -> dict[tuple[str, str], int]:
        """(function, qualifier) → requests in its queue."""
        return {(key.function_name, key.qualifier): len(queue) for key, queue in self._queues.items()}

    def close(self) -> None:
        """Send everybody away."""
        for queue in self._queues.values():
            queue.refuse_all(Refused(503, "ServiceUnavailable", "the host is stopping", 5))

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

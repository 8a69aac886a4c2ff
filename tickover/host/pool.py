"""The one owner of instances: reserved pools kept at their targets, requests given to instances.

Owns: the instances. Promises: their state changes only in `_happened`, by the table in `states`, on the event
loop's thread and without an await in between; slow work runs beside (`works`) and comes back as an event;
whoever waits is looked at after every change. Never: decides (`scheduler` and `admission` do).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog

from tickover.host.adoption import ADOPTION_EFFECT, adopt
from tickover.host.cards import CardDesk, Gpus
from tickover.host.clock import SECOND_NS, Clock, SystemClock, sleep_unless
from tickover.host.desk import Desk
from tickover.host.gpu.inventory import Inventory
from tickover.host.handover import NOBODY, UNSETTLED, Former, tell
from tickover.host.hooks import Account, longest_pre_stop
from tickover.host.instance import Instance, PoolKey, PoolSettings, linger_ns, new_instance
from tickover.host.meter import Meter
from tickover.host.metrics import Metrics, snapshot
from tickover.host.model import (
    DesiredPool,
    InstanceState,
    InstanceView,
    Lease,
    Place,
    PoolStatus,
    Prefix,
    Refused,
    Registry,
    Usage,
    Waiting,
    Woken,
)
from tickover.host.roster import Roster
from tickover.host.runtimes.base import Condition, Runtime
from tickover.host.runtimes.process import ProcessRuntime
from tickover.host.scheduler import Start, Tell, decide
from tickover.host.stamps import stamp
from tickover.host.states import ENDING, LIVING, SERVING, Effect, Event, step
from tickover.host.upkeep import collect_for_ever, tell_end, tidy_logs
from tickover.host.waking import wake_idle
from tickover.host.works import Surroundings, Works

__all__ = ["PoolSettings", "ReservedPool"]

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 60.0  # the wall clock may be set while we wait for a schedule
_RETRY_SECONDS, _TIDY_BEATS = 5.0, 15
_STOP_EXTRA_SECONDS = 20.0  # beyond the grace, for the kernel


class ReservedPool:
    """The pools of one host; satisfies `tickover.host.model.Pool`."""

    def __init__(
        self,
        registry: Registry,
        db_path: Path,
        data_dir: Path,
        nas: Mapping[str, Path],
        clock: Clock | None = None,
        on_change: Callable[[], None] | None = None,
        settings: PoolSettings | None = None,
        runtimes: Iterable[Runtime] | None = None,
        gpus: Gpus | None = None,
        account: Account | None = None,
    ) -> None:
        self._registry = registry
        self._db_path = db_path
        self._clock = clock or SystemClock()
        self._on_change = on_change or (lambda: None)
        self._settings = settings or PoolSettings()
        found = (ProcessRuntime(str(data_dir.resolve())),) if runtimes is None else tuple(runtimes)
        self._runtimes: dict[str, Runtime] = {runtime.name: runtime for runtime in found}
        self.metrics = Metrics(self._clock, lambda: snapshot(self._roster, self._desk))
        around = (self._runtimes, dict(nas), data_dir, self._clock, self._settings, self.metrics)
        self._around = Surroundings(*around, account or Account())
        self._roster = Roster()
        self._cards = CardDesk(
            gpus or Gpus(Inventory(())),
            self._roster,
            self._runtimes,
            self._around.nas,
            self._clock,
            self._settings,
            self._happened,
            self._judged,
            self._noted,
            self._next_change,
            self.metrics,
        )
        self._works = Works(
            self._around, self._happened, self._judged, self._record, self._roster.ports, self._cards
        )
        self._desk = Desk(self._roster, self._clock, self._settings, self._happened, self._host_of)
        self._retiring: list[tuple[str, str | None]] = []
        self._is_stale = True  # the registry has to be asked again
        self._is_open = False
        self._asked_ns = 0  # the wall clock when the registry was last asked
        self._look_ns = 0  # when the reconciler looks again
        self._kicked = asyncio.Event()
        self._watchers: set[asyncio.Future[None]] = set()  # of any change
        self._tasks: list[asyncio.Task[None]] = []

    # -- open and close --------------------------------------------------------------------------------

    async def start(self, former: Former = NOBODY) -> None:
        self._meter = Meter(self._db_path, self._clock, self._settings.ledger_delay_seconds)
        noted = self._meter.living()
        for runtime in self._runtimes.values():
            await runtime.open([i.ref for i in noted if i.ref and i.runtime == runtime.name])
        self._is_open = True
        gone = await self._adopt(noted, former)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._reconcile_for_ever()),
            loop.create_task(self._beat_for_ever()),
            loop.create_task(self._sweep(gone)),
            loop.create_task(collect_for_ever(self._around, self._roster)),
        ]
        for task in self._tasks:
            task.add_done_callback(tell_end)

    async def _adopt(self, noted: list[Instance], former: Former) -> list[Instance]:
        """Take over what a former host left running; the instances that are gone."""
        found = adopt(noted, self._condition, former, self._clock, self._settings)
        for instance in found.gone:
            self._meter.note(instance)
        self._meter.recover(found.living)
        for instance in found.living:
            self._roster.add(instance)
        for lease in former.leases:
            self._desk.assume(lease)
        await self._cards.open(found.living)
        for instance in found.living:
            self._works.watch(instance)
            self._works.do(ADOPTION_EFFECT.get(instance.state, Effect.NONE), instance)
            log.info("adopted", instance=instance.instance_id, state=instance.state.value, pid=instance.pid)
        self._desk.resume()
        return found.gone

    def _condition(self, instance: Instance) -> Condition:
        runtime = self._runtimes.get(instance.runtime)
        return runtime.condition(instance.ref) if runtime else Condition.GONE

    async def _sweep(self, gone: list[Instance]) -> None:
        # Side by side: an engine that is away holds up its own only.
        await asyncio.gather(*(self._works.sweep(instance) for instance in gone))

    async def stop(self, *, keep_instances: bool) -> None:
        if not self._is_open:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._desk.close()
        if not keep_instances:
            await self._stop_all()
        self._is_open = False
        await self._let_go()

    async def settle(self, seconds: float) -> None:
        """Wait, while all goes on, for a moment in which no instance is in the middle of a short step."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(i.state in UNSETTLED for i in self._roster.instances.values()):
                    await self._next_change()

    async def hand_over(self) -> Former:
        """Let go of everything but the instances and the requests on them, for another owner."""
        self._meter.write_all()
        self._is_open = False  # from here on nothing happens to them by us
        former = Former(tell(self._roster.instances.values()), self._desk.hand_over())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._let_go()
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_exception(
                    Refused(503, "ServiceUnavailable", "the host was replaced; ask again", 1)
                )
        return former

    async def _let_go(self) -> None:
        await self._works.abandon()
        await self._cards.close()
        for runtime in self._runtimes.values():
            await runtime.close()
        self._meter.close()

    async def _stop_all(self) -> None:
        reason = "the host was stopped"
        for instance in list(self._roster.instances.values()):
            self._happened(instance, Event.RETIRED, reason)
            if instance.state is InstanceState.DRAINING:
                self._happened(instance, Event.DRAINED, reason)
        try:
            async with asyncio.timeout(self.stop_seconds()):
                while self._roster.instances:
                    await self._next_change()
        except TimeoutError:
            log.error("instances could not be ended", instances=sorted(self._roster.instances))

    def stop_seconds(self) -> float:
        """How long ending all instances may take: their hooks, their grace, the kernel."""
        hooks = longest_pre_stop((i.spec for i in self._roster.instances.values()), self._settings)
        return hooks + self._settings.stop_grace_seconds + _STOP_EXTRA_SECONDS

    def runtimes(self) -> Mapping[str, str]:
        """Runtime name → how it isolates instances here."""
        return {name: runtime.describe() for name, runtime in self._runtimes.items()}

    def gpus(self) -> tuple[str, ...]:
        """Lines for a person: the cards of this machine, or why it has none."""
        return self._cards.describe()

    # -- loops -----------------------------------------------------------------------------------------

    def notify(self) -> None:
        self._is_stale = True
        self._kicked.set()

    async def _reconcile_for_ever(self) -> None:
        while True:
            self._kicked.clear()
            try:
                seconds = self._reconcile()
            except Exception as error:  # one bad declaration must not end the care for the rest
                log.error("reconciling failed", exc_info=error)
                seconds = _RETRY_SECONDS
            self._look_ns = self._clock.mono_ns() + round(seconds * SECOND_NS)
            has_passed = await sleep_unless(self._clock, seconds, self._kicked)
            self._is_stale = self._is_stale or has_passed

    def _reconcile(self) -> float:
        """Do what is due; how many seconds until it has to be looked at again."""
        self._refresh()
        roster, now = self._roster.counted(), self._clock.mono_ns()
        decision = decide(
            roster.pools.values(),
            roster.instances.values(),
            roster.crashes,
            now,
            self._settings,
            wall_ns=self._clock.wall_ns(),
        )
        for effect in decision.effects:
            match effect:
                case Start(pool):
                    self._start_one(pool)
                case Tell(instance_id, event, reason):
                    instance = roster.instances.get(instance_id)
                    if instance is not None:  # an effect before this one may have ended it
                        self._happened(instance, event, reason)
        waits = [_LOOK_AGAIN_SECONDS]
        if decision.next_ns is not None:
            waits.append((decision.next_ns - now) / SECOND_NS)
        # From when the registry was last asked, not from now: a change in between would be passed over.
        change = self._registry.next_change_ns(self._asked_ns)
        if change is not None:
            waits.append((change - self._clock.wall_ns()) / SECOND_NS)
        return max(0.0, min(waits))

    def _refresh(self) -> None:
        """Ask the registry again if it may have changed."""
        if self._is_stale:
            self._asked_ns = self._clock.wall_ns()
            self._roster.want(self._registry.desired(self._asked_ns), self._retiring)
            self._is_stale = False
            self._desk.pump_all()
            self._kicked.set()

    async def _beat_for_ever(self) -> None:
        beats = 0
        while True:
            await self._clock.sleep(self._settings.heartbeat_seconds)
            self._meter.beat()
            beats += 1
            if beats % _TIDY_BEATS == 0:
                tidy_logs(self._around, self._roster)
                self._roster.forgive(self._clock.mono_ns(), self._settings)

    # -- the one place where state changes -------------------------------------------------------------

    def _happened(self, instance: Instance, event: Event, reason: str = "") -> None:
        former = instance.state
        move = step(former, event) if self._is_open else None
        if move is None:
            return
        now = self._clock.mono_ns()
        instance.state = move.state
        instance.reason = reason or instance.reason
        stamp(instance, event, now, self._settings)
        if event is Event.WARMED:
            self._roster.ready(instance)
            took_ms = (now - instance.created_mono_ns) // 1_000_000
            log.info("ready", instance=instance.instance_id, pool=str(instance.key), took_ms=took_ms)
        self._meter.entered(instance, now)
        self.metrics.moved(instance, former, event, now)
        if move.state is InstanceState.FAILED and former in LIVING:
            failures = self._roster.crashed(instance, now, self._settings).count
            name, pool = instance.instance_id, str(instance.key)
            log.warning(
                "instance failed", instance=name, pool=pool, failures=failures, reason=instance.reason
            )
        if move.effect is Effect.FORGET:
            instance.destroyed_wall_ns = self._clock.wall_ns()
            self._roster.remove(instance)
        if event is Event.WARMED or move.effect is Effect.FORGET or move.state in ENDING - {former}:
            self._meter.note(instance)
        self._works.do(move.effect, instance)
        self._changed(instance, event)

    def _changed(self, instance: Instance, event: Event) -> None:
        self._desk.changed(instance)
        self._cards.nudge()
        if not self._can_wait(instance, event):
            self._kicked.set()
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)
        self._watchers.clear()
        self._on_change()

    def _can_wait(self, instance: Instance, event: Event) -> bool:
        """Whether the reconciler looks early enough anyhow: requests come and go far more often than it."""
        if event is Event.EMPTIED and instance.state is InstanceState.READY:
            idle_ns = instance.empty_mono_ns + linger_ns(instance.spec, self._settings)
            return not instance.idle_enabled or self._look_ns <= idle_ns
        return event is Event.ADMITTED

    async def _next_change(self) -> None:
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.add(watcher)
        await watcher

    def _start_one(self, pool: DesiredPool) -> None:
        instance = new_instance(pool, self._clock.mono_ns(), self._clock.wall_ns())
        self._roster.add(instance)
        self._works.create(instance)
        self._on_change()

    def _judged(self, instance: Instance) -> None:
        """Whether it may have requests has changed."""
        if self._is_open:
            self._desk.pump(instance.key)

    def _record(self, instance: Instance) -> None:
        self._meter.insert(instance)

    def _noted(self, instance: Instance) -> None:
        self._meter.note(instance)
        self._on_change()

    def _host_of(self, instance: Instance) -> str:
        return self._runtimes[instance.runtime].host

    # -- requests --------------------------------------------------------------------------------------

    def acquire_now(self, function_name: str, qualifier: str) -> Lease | None:
        if not self._is_open:
            return None
        self._refresh()
        return self._desk.acquire_now(PoolKey(function_name, qualifier))

    async def acquire(
        self,
        function_name: str,
        qualifier: str,
        *,
        request_id: str = "",
        session: str = "",
        place: Place | None = None,
        prefix: Prefix | None = None,
    ) -> Lease:
        if not self._is_open:
            raise Refused(503, "ServiceUnavailable", "the host is stopping", 5)
        self._refresh()
        return await self._desk.acquire(PoolKey(function_name, qualifier), request_id, session, place, prefix)

    def follow_sessions(self, count: Callable[[str], int]) -> None:
        self._roster.sessions_on = count

    def has_ended(self, instance_id: str) -> bool:
        return self._roster.has_ended(instance_id)

    def waiting(self, function_name: str | None = None) -> tuple[Waiting, ...]:
        return self._desk.queued(function_name)

    def release(self, lease: Lease, *, failed: bool = False) -> None:
        if not failed and self._is_open:
            self._meter.served(lease.function_name)
        instance = self._desk.holder(lease)
        if instance is not None and failed and self._is_open and instance.state in SERVING:
            self._works.check(instance)  # first: nobody who waits shall get the same failure
        self._desk.give_back(lease)

    def assume(self, lease: Lease) -> None:
        self._desk.assume(lease)
        self._desk.resume()

    # -- pools -----------------------------------------------------------------------------------------

    async def wake(self, function_name: str, qualifier: str, count: int | None = None) -> Woken:
        self._refresh()
        key = PoolKey(function_name, qualifier)
        if key not in self._roster.pools:
            raise Refused(404, "ProvisionConfigNotFound", f"{key} has no reserved instances")
        lanes = (key, key.other) if key in self._roster.canaries else (key,)
        return await wake_idle(self._roster, lanes, count, self._clock, self._happened, self._next_change)

    async def retire(self, function_name: str, qualifier: str | None = None) -> None:
        entry = (function_name, qualifier)
        self._retiring.append(entry)
        try:
            self.notify()
            while there := self._roster.matching(function_name, qualifier):
                for instance in there:
                    if instance.state in LIVING:
                        self._happened(instance, Event.RETIRED, "its pool was retired")
                await self._next_change()
        finally:
            self._retiring.remove(entry)
            self.notify()

    def status(self, function_name: str, qualifier: str) -> PoolStatus:
        self._refresh()
        return self._roster.status(PoolKey(function_name, qualifier))

    def instances(self, function_name: str | None = None) -> tuple[InstanceView, ...]:
        return self._roster.views(function_name)

    def usage(self, since_ns: int, until_ns: int) -> Usage:
        return self._meter.usage(since_ns, until_ns)

    def log_path(self, instance_id: str) -> str | None:
        return str(path) if (path := self._around.log_path(instance_id)).is_file() else None

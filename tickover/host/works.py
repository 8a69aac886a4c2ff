"""The slow work on instances: what an effect of the state table means in the world.

Owns: the tasks that start, check, warm up, freeze, thaw and end instances, and the watchers of their exits.
Promises: at most one such task per instance; each ends by telling the pool an event, never by changing the
instance's state. Never: decides what to do next.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from tickover.errors import TickoverError
from tickover.host import hooks
from tickover.host.cards import CardDesk
from tickover.host.clock import SECOND_NS, Clock
from tickover.host.diagnosis import diagnose
from tickover.host.gpu.keeper import Brought
from tickover.host.idle import Place, first_sleep, rouse, suspend, wake
from tickover.host.instance import (
    SLEEPING,
    Instance,
    PoolSettings,
    deepest_of,
    may_sleep,
    start_deadline_seconds,
)
from tickover.host.metrics import Metrics
from tickover.host.model import Deepest
from tickover.host.runtimes.base import ExitStatus, Handle, LaunchPlan, Runtime, RuntimeFailed
from tickover.host.runtimes.logs import tail
from tickover.host.states import SERVING, Effect, Event
from tickover.host.warmup import HealthRule, health_rule, is_unhealthy, listening, until_healthy, warm_up
from tickover.host.watchdog import Health, watchdog_of

log = structlog.get_logger(__name__)

LEAST_START_SECONDS = 1.0  # what an adopted start gets even if its time is over
CHECKS_AFTER_FAILURE = 3
PAUSE_BEFORE_CHECK_SECONDS = 0.05
PAUSE_AFTER_FAILURE_SECONDS = 0.3
DIAGNOSED_BYTES = 64 * 1024  # a cause may stand hundreds of lines before the end: tracebacks follow it
DIAGNOSED_LINES = 2000
PAUSE_AFTER_DENIAL_SECONDS = 1.0  # before whoever still waits has it asked for again

Happened = Callable[[Instance, Event, str], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the works need of the host."""

    runtimes: Mapping[str, Runtime]
    nas: Mapping[str, Path]
    data_dir: Path
    clock: Clock
    settings: PoolSettings
    metrics: Metrics
    account: hooks.Account

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    def log_path(self, instance_id: str) -> Path:
        return self.log_dir / f"{instance_id}.log"

    def plan(self, instance: Instance) -> LaunchPlan:
        name, port = instance.instance_id, instance.port or 0
        log_path = self.log_path(name)
        return LaunchPlan(name, instance.spec, port, self.nas, log_path, self.data_dir, instance.gpus)


class Works:
    """The tasks of one pool owner."""

    def __init__(
        self,
        surroundings: Surroundings,
        happened: Happened,
        judged: Callable[[Instance], None],
        record: Callable[[Instance], None],
        used_ports: Callable[[], set[int]],
        cards: CardDesk,
    ) -> None:
        self._around = surroundings
        self._happened = happened
        self._judged = judged
        self._record = record
        self._used_ports = used_ports
        self._cards = cards
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._monitors: dict[str, asyncio.Task[None]] = {}
        self._sinks: set[asyncio.Task[None]] = set()  # a wake may be asked for meanwhile, and waits for them
        self._unwatch: dict[str, Callable[[], None]] = {}

    def create(self, instance: Instance) -> None:
        """Bring a new instance into being."""
        self._run(instance, self._create(instance))

    def do(self, effect: Effect, instance: Instance) -> None:
        """Start the work of an effect."""
        if effect is Effect.NONE:  # every request has two of these
            return
        match effect:
            case Effect.CHECK_HEALTH:
                self._run(instance, self._check_health(instance))
            case Effect.WARM_UP:
                self._run(instance, self._warm_up(instance))
            case Effect.FREEZE:
                self._run(instance, self._freeze(instance))
            case Effect.THAW:
                self._run(instance, self._thaw(instance))
            case Effect.SINK:
                task = asyncio.get_running_loop().create_task(self._cards.sink(instance))
                self._sinks.add(task)
                task.add_done_callback(lambda done: self._sank(instance, done))
            case Effect.STOP:
                former = self._tasks.get(instance.instance_id)
                self._run(instance, self._end(instance, former, self._around.settings.stop_grace_seconds))
            case Effect.KILL:
                self._run(instance, self._end(instance, self._tasks.get(instance.instance_id), 0.0))
            case Effect.FORGET:
                pass

    def watch(self, instance: Instance) -> None:
        """Tell EXITED when it ends."""

        def exited(status: ExitStatus) -> None:
            self._unwatch.pop(instance.instance_id, None)
            self._happened(instance, Event.EXITED, self.with_tail(instance, f"the process {status}"))

        runtime = self._around.runtimes[instance.runtime]
        self._unwatch[instance.instance_id] = runtime.watch(instance.ref, exited)
        monitor = asyncio.get_running_loop().create_task(self._monitor(instance))
        self._monitors[instance.instance_id] = monitor
        monitor.add_done_callback(lambda done: self._tell_trouble(instance, done))

    def check(self, instance: Instance) -> None:
        """A request on it has failed: it gets no other before it was seen to answer."""
        instance.is_doubtful = True
        if instance.instance_id not in self._checks:
            task = asyncio.get_running_loop().create_task(self._check(instance))
            self._checks[instance.instance_id] = task
            task.add_done_callback(lambda done: self._checked(instance, done))

    async def abandon(self) -> None:
        """Leave all instances as they are."""
        for unwatch in self._unwatch.values():
            unwatch()
        self._unwatch.clear()
        tasks = [*self._tasks.values(), *self._checks.values(), *self._monitors.values(), *self._sinks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self, instance: Instance) -> None:
        """End what an instance that is dead already has left behind."""
        runtime = self._around.runtimes.get(instance.runtime)
        if runtime is not None and instance.ref:
            await runtime.stop(instance.instance_id, instance.ref, 0.0)

    # -- tasks -----------------------------------------------------------------------------------------

    def _run(self, instance: Instance, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[instance.instance_id] = task
        task.add_done_callback(lambda done: self._done(instance, done))

    def _done(self, instance: Instance, task: asyncio.Task[None]) -> None:
        if self._tasks.get(instance.instance_id) is task:
            del self._tasks[instance.instance_id]
        self._tell_trouble(instance, task)

    def _sank(self, instance: Instance, task: asyncio.Task[None]) -> None:
        self._sinks.discard(task)
        self._tell_trouble(instance, task)

    def _checked(self, instance: Instance, task: asyncio.Task[None]) -> None:
        del self._checks[instance.instance_id]
        self._tell_trouble(instance, task)
        instance.is_doubtful = False
        self._judged(instance)

    def _tell_trouble(self, instance: Instance, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("work on an instance failed", instance=instance.instance_id, exc_info=error)
            self._happened(instance, Event.FAULTED, f"the host failed to handle it: {error}")

    async def _create(self, instance: Instance) -> None:
        try:
            runtime = self._runtime_of(instance)
            instance.runtime = runtime.name
            instance.gpus = await self._cards.take(instance)
            instance.port = free_port(runtime.host, self._used_ports())

            def record(handle: Handle) -> None:
                instance.ref, instance.pid = handle.ref, handle.pid
                self._record(instance)

            await runtime.spawn(self._around.plan(instance), record)
        except (RuntimeFailed, TickoverError, OSError) as error:
            detail = error.detail if isinstance(error, TickoverError) else str(error)
            self._happened(instance, Event.FAULTED, detail)
            return
        self.watch(instance)
        self._happened(instance, Event.SPAWNED, "")

    def _runtime_of(self, instance: Instance) -> Runtime:
        container = instance.spec.custom_container_config
        image = (container.image if container else "") or ""
        for runtime in self._around.runtimes.values():
            if runtime.accepts(image):
                return runtime
        raise RuntimeFailed("this host has no container runtime; use image process://local")

    async def _check_health(self, instance: Instance) -> None:
        """FC's order: it listens, its initializer is called, then its health check has to pass."""
        hook, rule = hooks.initializer_of(instance.spec), self._rule(instance)
        if hook is not None and not await self._initialized(instance, hook, rule):
            return
        if await self._becomes(instance, rule):
            self._happened(instance, Event.HEALTHY, "")

    async def _initialized(self, instance: Instance, hook: hooks.Hook, rule: HealthRule) -> bool:
        if not await self._becomes(instance, listening(rule)):
            return False
        around, began = self._around, self._around.clock.mono_ns()
        runtime, plan = self._runtime(instance), around.plan(instance)
        trouble = await hooks.call(hook, instance, runtime, plan, around.account)
        instance.hook_ns = around.clock.mono_ns() - began
        if trouble is not None:
            instance.failure = hook.name
            self._happened(instance, Event.FAULTED, self.with_tail(instance, trouble))
        return trouble is None

    async def _becomes(self, instance: Instance, rule: HealthRule) -> bool:
        """Whether a starting instance meets a rule before its deadline; tells if it does not."""
        host, port = self._address(instance)
        age = (self._around.clock.mono_ns() - _born_ns(instance)) / SECOND_NS
        rule = replace(rule, delay_seconds=max(0.0, rule.delay_seconds - age))
        trouble = await until_healthy(host, port, rule, self._start_seconds(instance))
        if trouble is not None:
            deadline = start_deadline_seconds(instance.spec, self._around.settings)
            reason = f"not ready {deadline:g} seconds after its start: {trouble}"
            self._happened(instance, Event.FAULTED, self.with_tail(instance, reason))
        return trouble is None

    async def _warm_up(self, instance: Instance) -> None:
        host, port = self._address(instance)
        place, can = self._place(instance), may_sleep(instance, self._around.settings)
        # A former host may have ended in the middle of its first sleep.
        trouble = await rouse(place, self._start_seconds(instance)) if can else None
        trouble = trouble or await warm_up(host, port, self._start_seconds(instance))
        if trouble is None and can:
            began = self._around.clock.mono_ns()
            instance.can_sleep, trouble = await first_sleep(place, self._start_seconds(instance))
            took_ms = (self._around.clock.mono_ns() - began) // 1_000_000
            log.info("tried to sleep", instance=instance.instance_id, can=instance.can_sleep, took_ms=took_ms)
        if trouble is None:
            await self._cards.started(instance)
            self._happened(instance, Event.WARMED, "")
        else:
            self._happened(instance, Event.FAULTED, self.with_tail(instance, trouble))

    async def _freeze(self, instance: Instance) -> None:
        deepest = deepest_of(instance.spec, self._around.settings)
        if deepest in SLEEPING and instance.can_sleep is False:
            deepest = Deepest.FREEZE
        try:
            done = await suspend(self._place(instance), deepest)
        except RuntimeFailed as error:
            self._happened(instance, Event.FAULTED, error.reason)
            return
        if done.trouble:
            log.warning(
                "not idle as wanted",
                instance=instance.instance_id,
                wanted=deepest.value,
                reached=done.reached.value,
                reason=done.trouble,
            )
        instance.rung = done.reached
        if done.reached is Deepest.SLEEP:
            await self._cards.went_asleep(instance)
        is_idle = done.reached is not Deepest.NONE
        self._happened(instance, Event.FROZEN if is_idle else Event.FREEZE_FAILED, "")

    async def _thaw(self, instance: Instance) -> None:
        began = self._around.clock.mono_ns()
        brought = await self._wake(instance)
        took_ms, trouble = (self._around.clock.mono_ns() - began) // 1_000_000, brought.trouble or ""
        log.info("woke", instance=instance.instance_id, took_ms=took_ms, trouble=trouble)
        if brought.is_put_off:
            await asyncio.sleep(PAUSE_AFTER_DENIAL_SECONDS)
            self._happened(instance, Event.WAKE_DENIED, f"it cannot wake now: {trouble}")
        elif trouble:
            self._happened(instance, Event.FAULTED, f"it did not wake: {trouble}")
        else:
            self._happened(instance, Event.WOKEN, "")

    async def _wake(self, instance: Instance) -> Brought:
        settings = self._around.settings
        can = may_sleep(instance, settings)
        seconds = settings.wake_asleep_deadline_seconds if can else settings.wake_deadline_seconds
        place, rule = self._place(instance), self._rule(instance)
        brought = await self._cards.wake(instance, lambda: wake(place, rule, seconds, can))
        if brought.trouble is None:
            instance.rung = Deepest.NONE
        return brought

    async def _check(self, instance: Instance) -> None:
        host, port = self._address(instance)
        trouble: str | None = None
        # A process that is ending closes its connections a moment before its port.
        await asyncio.sleep(PAUSE_BEFORE_CHECK_SECONDS)
        for _ in range(CHECKS_AFTER_FAILURE):
            if instance.state not in SERVING:  # a frozen one does not answer, and need not
                return
            trouble = await is_unhealthy(host, port, self._rule(instance))
            if trouble is None:
                return
            await asyncio.sleep(PAUSE_AFTER_FAILURE_SECONDS)
        self._happened(instance, Event.FAULTED, self.with_tail(instance, f"it answers no more: {trouble}"))

    async def _monitor(self, instance: Instance) -> None:
        """Check its health for as long as it lives, while it is awake."""
        watchdog = watchdog_of(instance.spec)
        if watchdog is None:
            return
        host, port = self._address(instance)
        health = Health()
        while True:
            await self._around.clock.sleep(watchdog.period_seconds)
            if instance.state not in SERVING:
                health = Health(health.is_good)  # its wake looks anew: nothing was in a row before
                continue
            trouble = await is_unhealthy(host, port, self._rule(instance))
            if instance.state not in SERVING:  # frozen meanwhile: its silence says nothing
                continue
            health = watchdog.after(health, trouble is None)
            if health.is_good == instance.is_unhealthy:
                log.warning("health changed", instance=instance.instance_id, trouble=trouble or "none")
                instance.is_unhealthy = not health.is_good
                self._judged(instance)
            if instance.is_unhealthy and instance.in_flight == 0:
                reason = f"its health check fails: {trouble}"
                self._happened(instance, Event.FAULTED, self.with_tail(instance, reason))

    async def _end(self, instance: Instance, former: asyncio.Task[None] | None, grace_seconds: float) -> None:
        check = self._checks.get(instance.instance_id)
        monitor = self._monitors.pop(instance.instance_id, None)
        for task in (former, check, monitor):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        reason = ""
        if instance.ref:
            if grace_seconds > 0 and hooks.due_pre_stop(instance) is not None:
                reason = await self._pre_stop(instance, was_moving=former is not None)
            runtime = self._runtime(instance)
            await runtime.stop(instance.instance_id, instance.ref, grace_seconds)
        self._cards.leave(instance)
        unwatch = self._unwatch.pop(instance.instance_id, None)
        if unwatch is not None:
            unwatch()
        self._happened(instance, Event.ENDED, reason)

    async def _pre_stop(self, instance: Instance, *, was_moving: bool) -> str:
        """Call its hook; the reason of its end if there was trouble. Billed from event to event."""
        runtime, around = self._runtime(instance), self._around
        wake_it = partial(self._wake, instance)
        begun = partial(self._happened, instance, Event.PRE_STOP_BEGUN, "")
        trouble = await hooks.pre_stop(
            instance, runtime, around.plan(instance), around.account, wake_it, begun, was_moving=was_moving
        )
        self._happened(instance, Event.PRE_STOP_OVER, "")
        return f"{instance.reason}; {trouble}" if trouble else ""

    # -- small things ----------------------------------------------------------------------------------

    def with_tail(self, instance: Instance, reason: str) -> str:
        """A reason with what the instance's log says about it, and its last lines."""
        path = self._around.log_path(instance.instance_id)
        found = diagnose(tail(path, DIAGNOSED_LINES, DIAGNOSED_BYTES).splitlines())
        if found is not None:
            instance.failure = found.cause.value
            reason = f"{found.sentence} ({reason})"
        lines = tail(path)
        return f"{reason}\nlast lines of its log:\n{lines}" if lines else f"{reason} (its log is empty)"

    def _runtime(self, instance: Instance) -> Runtime:
        return self._around.runtimes[instance.runtime]

    def _rule(self, instance: Instance) -> HealthRule:
        return health_rule(instance.spec, is_forwarded=self._runtime(instance).is_forwarded)

    def _place(self, instance: Instance) -> Place:
        port, step = instance.port or 0, self._around.metrics.step
        return Place(self._runtime(instance), instance.ref, port, instance.sleep_level, step)

    def _address(self, instance: Instance) -> tuple[str, int]:
        return self._runtime(instance).host, instance.port or 0

    def _start_seconds(self, instance: Instance) -> float:
        gone = (self._around.clock.mono_ns() - _born_ns(instance) - instance.hook_ns) / SECOND_NS
        deadline = start_deadline_seconds(instance.spec, self._around.settings)
        return max(deadline - gone, LEAST_START_SECONDS)


def _born_ns(instance: Instance) -> int:
    """Since when it exists: an image that is pulled for an hour is no server that does not start."""
    return instance.spawned_mono_ns or instance.created_mono_ns


def free_port(host: str, used: set[int]) -> int:
    """A port that nobody listens on and no other instance was promised. Raises OSError."""
    while True:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in used:
            return port

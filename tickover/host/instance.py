"""One instance in memory, and what its spec means here.

Owns: the pool's record of an instance and the limits that a spec gives it. Promises: only the pool writes
to it. Never: any I/O.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import NamedTuple

from tickover.fc.function import Function
from tickover.host.clock import SECOND_NS, seconds_ns
from tickover.host.idle_settings import idle_settings
from tickover.host.model import Deepest, DesiredPool, InstanceState, InstanceView, PreStop
from tickover.host.runtimes.base import Gpu

AFFINITY_CONCURRENCY = 200
SLEEPING = frozenset({Deepest.SLEEP, Deepest.CHECKPOINT})  # the rungs on which the model server sleeps


class PoolKey(NamedTuple):
    """A reserved pool: one qualifier of one function; two of an alias that gives a second version a share.

    is_canary: the second version's. A tuple, because every request looks several things up by it.
    """

    function_name: str
    qualifier: str
    is_canary: bool = False

    @classmethod
    def of(cls, pool: DesiredPool) -> PoolKey:
        return cls(pool.function_name, pool.qualifier, pool.is_canary)

    @property
    def other(self) -> PoolKey:
        """The pool of the alias' other version, should it have two."""
        return PoolKey(self.function_name, self.qualifier, not self.is_canary)

    def __str__(self) -> str:
        return f"{self.function_name}.{self.qualifier}" + (" (canary)" if self.is_canary else "")


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The times and bounds of all pools of a host.

    deepest: how far down an idle instance goes, if it can. deep_after_seconds: asleep for so long before the
    driver takes the rest, None: only when another instance needs its card. linger_seconds: empty for so long
    before an instance is suspended. start_deadline_seconds: until it has to serve, from when its process
    exists. What a function says of these overrides them (`idle_settings`). drain_max_seconds: a retired
    instance with requests is stopped after so long (or its function's timeout, if shorter). stable_seconds:
    up for so long ends a back-off.
    """

    deepest: Deepest = Deepest.CHECKPOINT
    deep_after_seconds: float | None = None
    linger_seconds: float = 2.0
    start_deadline_seconds: float = 120.0
    wake_deadline_seconds: float = 5.0
    wake_asleep_deadline_seconds: float = 60.0  # of an instance whose server may be asleep
    stop_grace_seconds: float = 10.0
    drain_max_seconds: float = 86_400.0
    queue_floor: int = 8
    queue_wait_seconds: float = 60.0
    max_starting: int = 4
    backoff_first_seconds: float = 1.0
    backoff_max_seconds: float = 60.0
    stable_seconds: float = 60.0
    heartbeat_seconds: float = 1.0
    ledger_delay_seconds: float = 0.05
    log_max_bytes: int = 16 * 1024 * 1024
    logs_kept: int = 100


@dataclass(slots=True, eq=False)
class Instance:
    """What the pool knows of one instance. Times are monotonic ns unless they say wall."""

    instance_id: str
    key: PoolKey
    version_id: str
    revision: str
    spec: Function
    idle_enabled: bool
    created_mono_ns: int
    created_wall_ns: int
    state: InstanceState = InstanceState.CREATING
    runtime: str = ""
    ref: str = ""  # the runtime's handle of it; empty before it exists
    pid: int | None = None
    port: int | None = None
    in_flight: int = 0
    spawned_mono_ns: int | None = None  # since when its first process exists
    hook_ns: int = 0  # how long its initializer took
    pre_stop: PreStop = PreStop.AHEAD  # of one that has such a hook, once it is being stopped
    ready_mono_ns: int | None = None  # first time ready
    empty_mono_ns: int = 0  # since when nothing is in flight
    drain_mono_ns: int = 0
    wake_mono_ns: int = 0  # when the last wake was asked for
    destroyed_wall_ns: int | None = None
    reason: str = ""
    failure: str = ""  # the class of a failure that was recognised, for the metrics
    can_sleep: bool | None = None  # its server can give up its GPU memory; None: nobody has asked yet
    rung: Deepest = Deepest.NONE  # how far down it is
    cards: tuple[str, ...] = ()  # the UUIDs of its GPUs
    gpus: tuple[Gpu, ...] | None = None  # those that it may see, as it was started with
    can_deep: bool = False  # the driver may checkpoint it
    sleep_level: int = 1  # for its whole life: who slept at one level cannot be woken at another
    deep_pids: tuple[int, ...] = ()  # its processes that the driver may have
    sink_ns: int | None = None  # when, asleep, it goes to the deepest rung
    is_doubtful: bool = False  # a request on it has failed, and it has not been looked at yet
    is_unhealthy: bool = False  # its health check fails: no new requests
    sessions: int = 0  # how many are on it, when the reconciler last looked
    is_held: bool = False  # another one needs its card: no new requests until that one had its turn

    @property
    def is_good(self) -> bool:
        """Whether a new request may go to it."""
        return not (self.is_doubtful or self.is_unhealthy or self.is_held)

    @property
    def concurrency(self) -> int:
        return concurrency_of(self.spec)

    def view(self) -> InstanceView:
        return InstanceView(
            instance_id=self.instance_id,
            function_name=self.key.function_name,
            qualifier=self.key.qualifier,
            version_id=self.version_id,
            state=self.state,
            in_flight=self.in_flight,
            pid=self.pid,
            port=self.port,
            created_ns=self.created_wall_ns,
            destroyed_ns=self.destroyed_wall_ns,
            reason=self.reason,
            rung=self.rung.value,
        )


def concurrency_of(spec: Function) -> int:
    """Requests at a time on one instance; session affinity sets it, as on FC."""
    if (spec.session_affinity or "NONE") != "NONE":
        return AFFINITY_CONCURRENCY
    return spec.instance_concurrency or 1


@dataclass(slots=True)
class Crashes:
    """Failures of one revision in a row. error: the last one, until an instance is ready again."""

    count: int = 0
    last_mono_ns: int = 0
    error: str = ""
    before_ready: bool = field(default=False)  # the last one failed to start


def new_instance(pool: DesiredPool, mono_ns: int, wall_ns: int) -> Instance:
    return Instance(
        instance_id=f"i-{secrets.token_hex(6)}",
        key=PoolKey.of(pool),
        version_id=pool.version_id,
        revision=pool.revision,
        spec=pool.spec,
        idle_enabled=pool.idle_enabled,
        sleep_level=sleep_level(pool.spec),
        created_mono_ns=mono_ns,
        created_wall_ns=wall_ns,
    )


def linger_ns(spec: Function, settings: PoolSettings) -> int:
    """How long an empty instance stays awake."""
    seconds = idle_settings(spec.environment_variables).linger_seconds
    return seconds_ns(settings.linger_seconds if seconds is None else seconds)


def start_deadline_seconds(spec: Function, settings: PoolSettings) -> float:
    """How long a process may take until it can serve, its initializer not counted."""
    seconds = idle_settings(spec.environment_variables).start_deadline_seconds
    return settings.start_deadline_seconds if seconds is None else seconds


def deepest_of(spec: Function, settings: PoolSettings) -> Deepest:
    """How far down an idle instance of a spec may go."""
    return idle_settings(spec.environment_variables).deepest or settings.deepest


def sleep_level(spec: Function) -> int:
    """The level of vLLM's sleep."""
    return idle_settings(spec.environment_variables).sleep_level or 1


def wake_ahead_ns(spec: Function) -> int:
    """How long before a scheduled action its instances are woken; 0: not at all."""
    return seconds_ns(idle_settings(spec.environment_variables).wake_ahead_seconds or 0.0)


def max_age_ns(spec: Function) -> int | None:
    """How old an instance becomes before it is replaced."""
    seconds = idle_settings(spec.environment_variables).max_age_seconds
    return None if seconds is None else seconds_ns(seconds)


def deep_after_ns(spec: Function, settings: PoolSettings) -> int | None:
    """How long an instance asleep keeps what that leaves on its cards; None: until another needs them."""
    given = idle_settings(spec.environment_variables).deep_after_seconds
    seconds = settings.deep_after_seconds if given is None else given
    return None if seconds is None else seconds_ns(seconds)


def may_sleep(instance: Instance, settings: PoolSettings) -> bool:
    """False where its server cannot sleep, or must not."""
    wants = instance.idle_enabled and deepest_of(instance.spec, settings) in SLEEPING
    return wants and instance.can_sleep is not False


def drain_ns(spec: Function, settings: PoolSettings) -> int:
    """How long a retired instance may go on with what it has."""
    given = idle_settings(spec.environment_variables).drain_seconds
    seconds = settings.drain_max_seconds if given is None else given
    return min(seconds_ns(seconds), (spec.timeout or 86400) * SECOND_NS)

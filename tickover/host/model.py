"""The seam inside the host: what the declared side, the pool and the front door tell each other.

Owns: the values and protocols between `registry` (what is declared), `pool` (what runs) and `door`
(who asks). Promises: frozen data. Never: any decision, any I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from tickover.fc.function import Function

LATEST = "LATEST"
NO_INSTANCE = ""  # of a lease: on the door of another host, which finds one


class InstanceState(Enum):
    """Where an instance is in its life; the transitions are the table in `states`."""

    CREATING = "creating"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"  # healthy, lingering, nothing in flight
    BUSY = "busy"  # at least one request in flight
    SUSPENDING = "suspending"
    IDLE = "idle"  # on a rung of the idle ladder: frozen, its server asleep if it can
    WAKING = "waking"
    DRAINING = "draining"  # takes no new request, finishes what it has
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"

    __hash__ = object.__hash__  # there is one of each, and every request looks several things up by it


class Deepest(Enum):
    """The rungs of the idle ladder, the least deep first; each includes those before it."""

    NONE = "none"  # it goes on running
    FREEZE = "freeze"  # no processor
    SLEEP = "sleep"  # the model server gives up its GPU memory, then no processor
    CHECKPOINT = "checkpoint"  # the driver takes what the server has left, later or when others need it


class PreStop(Enum):
    """How far an instance that is being stopped is with its preStop hook."""

    AHEAD = "ahead"
    CALLED = "called"
    OVER = "over"


class BillingClass(Enum):
    """STARTING and BUSY are billed active, IDLE is billed idle (fc facts 3.4)."""

    STARTING = "starting"
    BUSY = "busy"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class DesiredPool:
    """What one reserved pool should be now. One per (function, qualifier) with a ProvisionConfig, and a
    second one for the version that an alias gives a share of the requests.

    version_id: "0" for LATEST, else the published version that the alias points at.
    revision: changes whenever a new instance is needed (LATEST edited, alias moved, idle switch flipped).
    target: instances that should be up now, schedules applied.
    idle_enabled: alwaysAllocateGPU/CPU false: instances freeze when nothing is in flight.
    expected_ns: wall-clock times around now at which a schedule asks for instances: the last one and the
    next one. Empty if nobody wants to be awake for them.
    is_canary: it is the second one. weight: the share of the requests that this version gets.
    """

    function_name: str
    qualifier: str
    version_id: str
    revision: str
    spec: Function
    target: int
    idle_enabled: bool
    expected_ns: tuple[int, ...] = ()
    is_canary: bool = False
    weight: float = 1.0


class Registry(Protocol):
    """The declared side, as the pool sees it."""

    def desired(self, now_ns: int) -> tuple[DesiredPool, ...]:
        """All pools, sorted by (function, qualifier, is_canary). now_ns: wall clock, ns since the epoch."""
        ...

    def next_change_ns(self, now_ns: int) -> int | None:
        """Wall-clock time of the next firing or window edge that may change a target, or None."""
        ...


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as people and the API see it."""

    instance_id: str
    function_name: str
    qualifier: str
    version_id: str
    state: InstanceState
    in_flight: int
    pid: int | None
    port: int | None
    created_ns: int
    destroyed_ns: int | None = None
    reason: str = ""  # why it failed or stopped
    rung: str = "none"  # how far down the idle ladder it is: none, freeze, sleep, checkpoint


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """What GetProvisionConfig reports: target now in force, instances of the wanted revision that are up."""

    target: int
    current: int
    current_error: str = ""


@dataclass(eq=False)
class Refused(Exception):
    """A request that gets no instance. status/code/message as FC would answer; retry_after in seconds."""

    status: int
    code: str
    message: str
    retry_after_seconds: int | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


@dataclass(eq=False)
class InstanceGone(Exception):
    """The only instance that a request could go to takes no more."""

    instance_id: str


class Prefix(NamedTuple):
    """The beginning of a prompt, as digests of its blocks, each of all up to there. enough: so many of them
    have to be known for it to count as known."""

    blocks: tuple[int, ...]
    enough: int


class Place(Protocol):
    """Which instances a request may go to; asked anew whenever somebody is looked for."""

    @property
    def instance_id(self) -> str | None:
        """This one only; None: any that is admitted."""
        ...

    def admits(self, instance_id: str) -> bool: ...
    def taken(self, instance_id: str) -> None:
        """It has been granted this one: told before anybody else is looked at."""
        ...


@dataclass(slots=True)
class Lease:
    """The right to send one request to one instance. Give it back with `Pool.release` exactly once."""

    instance_id: str
    function_name: str
    qualifier: str
    version_id: str
    host: str
    port: int
    woke: bool  # this request made the instance wake
    waited_ns: int  # from acquire to grant
    timeout_seconds: int | None = None  # how long the request may take from now on
    prefix: str = ""  # "hit" or "miss": its instance was given this beginning of a prompt before, or not


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request in a queue. position: 1 is served next. phase: what it waits for (`admission.phase`)."""

    request_id: str
    function_name: str
    qualifier: str
    position: int
    waited_ns: int
    phase: str


@dataclass(frozen=True, slots=True)
class Woken:
    """What a wake without a request has done. woke: instances that were idle; failed: those that are still
    idle, for want of room, or have ended instead; awake: all of the pool that serve now."""

    woke: int
    failed: int
    awake: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Metered time of one (instance, class) in a window, with the spec it is priced by. Durations in ns."""

    function_name: str
    instance_id: str
    billing_class: BillingClass
    start_ns: int  # wall clock; when it first was in this class
    end_ns: int  # wall clock, when it last was; equals "now" if it still is
    duration_ns: int  # monotonic; the figure that is billed
    cpu: float
    memory_mb: int
    disk_mb: int
    gpu_type: str  # "" without a GPU
    gpu_memory_mb: int


class Usage(NamedTuple):
    """What was metered in a window. since_ns, until_ns: the window that this is of, which is not quite the
    one asked for where that cuts time that was added up. calls: function name → requests finished in it
    (billed per 10,000)."""

    since_ns: int
    until_ns: int
    rows: tuple[UsageRow, ...]
    calls: Mapping[str, int]


class Leases(Protocol):
    """Who gives requests to instances, as the front door sees it."""

    def acquire_now(self, function_name: str, qualifier: str) -> Lease | None:
        """A lease if one can be had without waiting or choosing; else None, and `acquire` says why."""
        ...

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
        """A lease, after a wake or a start if need be. Raises `Refused`. Cancel it to leave the queue.

        request_id: as those who look at the queue shall see it. session: where an alias has two versions,
        requests with the same one go to the same version. place: on an instance of it only; then it raises
        `InstanceGone` too, and `HandedOver` when the instances get another owner, who knows nothing of it.
        prefix: of those with room, rather one that was given this beginning of a prompt before.
        """
        ...

    def release(self, lease: Lease, *, failed: bool = False) -> None:
        """The request is over (failed: the instance could not be reached or broke the connection)."""
        ...

    def has_ended(self, instance_id: str) -> bool:
        """Whether an instance is known to do no more work; False where that cannot be known."""
        ...

    def log_path(self, instance_id: str) -> str | None: ...


class Pool(Leases, Protocol):
    """What runs. The one owner of instances and of the meter."""

    async def start(self) -> None:
        """Open the ledger, adopt or end what a former host left, begin to reconcile."""
        ...

    async def stop(self, *, keep_instances: bool) -> None:
        """Stop reconciling; keep_instances leaves the model servers running for the next host to adopt."""
        ...

    def notify(self) -> None:
        """Something declared has changed: reconcile soon."""
        ...

    def follow_sessions(self, count: Callable[[str], int]) -> None:
        """How many sessions an instance has: those with the fewest end first."""
        ...

    def waiting(self, function_name: str | None = None) -> tuple[Waiting, ...]:
        """Who waits, by pool in order of service."""
        ...

    async def wake(self, function_name: str, qualifier: str, count: int | None = None) -> Woken:
        """Wake the idle instances of a pool (at most `count`); they go idle again as after a request."""
        ...

    async def retire(self, function_name: str, qualifier: str | None = None) -> None:
        """Drain and stop all instances of a function (or one qualifier); returns when they are gone."""
        ...

    def status(self, function_name: str, qualifier: str) -> PoolStatus: ...
    def instances(self, function_name: str | None = None) -> tuple[InstanceView, ...]: ...
    def usage(self, since_ns: int, until_ns: int) -> Usage: ...

"""Who serves a request: a function of the instances and the queue.

Owns: the choice among instances, how many to wake, the bound of the queue, and the words of a refusal.
Promises: pure; never more than instanceConcurrency on an instance. Never: changes an instance or the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tickover.host.instance import Crashes, Instance, PoolKey, PoolSettings, concurrency_of
from tickover.host.model import DesiredPool, InstanceState, Refused
from tickover.host.states import LIVING, SERVING, UP

BUSY_RETRY_SECONDS = 1
HOPELESS_AFTER = 2  # failed starts in a row after which nobody waits for the next one


def _load(instance: Instance) -> tuple[int, ...]:
    return (instance.in_flight,)


def pick(
    instances: Iterable[Instance],
    revision: str,
    order: Callable[[Instance], tuple[int, ...]] = _load,
) -> Instance | None:
    """Who gets the next request: one of the wanted revision if it has room, then the first in an order, which
    is that of their load."""
    best: Instance | None = None
    best_rank: tuple[bool, tuple[int, ...], str] | None = None
    for instance in instances:
        has_room = instance.in_flight < instance.concurrency
        if has_room and instance.state in SERVING and instance.is_good:
            rank = (instance.revision != revision, order(instance), instance.instance_id)
            if best_rank is None or rank < best_rank:
                best, best_rank = instance, rank
    return best


def _nothing(instance: Instance) -> int:
    return 0


def to_wake(
    instances: Sequence[Instance],
    revision: str,
    waiting: int,
    known: Callable[[Instance], int] = _nothing,
) -> list[Instance]:
    """The idle instances to wake so that all who wait get a place; those that are waking count already.
    known: how much of what the first of them asks an instance has in its cache."""
    coming = sum(i.concurrency for i in instances if i.state is InstanceState.WAKING)
    chosen: list[Instance] = []
    for instance in sorted(
        idle_first(instances, revision), key=lambda i: (i.revision != revision, -known(i))
    ):
        if coming >= waiting:
            break
        chosen.append(instance)
        coming += instance.concurrency
    return chosen


def idle_first(instances: Iterable[Instance], revision: str) -> list[Instance]:
    """The idle instances in the order in which they are woken."""
    idle = [i for i in instances if i.state is InstanceState.IDLE]
    # The one that was idle for the shortest time is the one most likely still in memory.
    return sorted(idle, key=lambda i: (i.revision != revision, -i.empty_mono_ns, i.instance_id))


def queue_limit(pool: DesiredPool, instances: Iterable[Instance], settings: PoolSettings) -> int:
    """How many may wait: as many as the pool can serve at a time."""
    up = sum(i.state in UP for i in instances)
    return max(settings.queue_floor, max(up, pool.target) * concurrency_of(pool.spec))


def refusal(
    key: PoolKey,
    pool: DesiredPool | None,
    instances: Iterable[Instance],
    crashed: Crashes | None,
    waiting: int,
    settings: PoolSettings,
) -> Refused | None:
    """Why a request that no instance can take now may not even wait; None if it may."""
    there = [i for i in instances if i.state in LIVING]
    if not any(i.state in UP for i in there):
        if key.qualifier.isdigit():
            return Refused(
                429,
                "ResourceExhausted",
                f"version {key.qualifier} of {key.function_name} has no reserved instances of its own, and "
                "this host starts none on demand; reserved instances belong to LATEST or an alias: call an "
                "alias that gives this version a share",
                BUSY_RETRY_SECONDS,
            )
        if pool is None or pool.target == 0:
            return Refused(
                429,
                "ResourceExhausted",
                f"{key} has no reserved instance (target 0), and this host starts none on demand; "
                "raise the pool's target",
                BUSY_RETRY_SECONDS,
            )
        if is_hopeless(crashed):
            return not_started(key, crashed)
    if pool is None or waiting >= queue_limit(pool, there, settings):
        return Refused(
            429,
            "ResourceExhausted",
            f"all instances of {key} are at their concurrency and {waiting} requests wait already",
            BUSY_RETRY_SECONDS,
        )
    return None


def no_session_room(key: PoolKey) -> Refused:
    return Refused(
        429,
        "ResourceExhausted",
        f"every instance of {key} holds as many sessions as sessionConcurrencyPerInstance allows; "
        "end a session, or raise that or the pool's target",
        BUSY_RETRY_SECONDS,
    )


# What a pool is waited for, the nearest to an answer first.
_PHASES = (
    InstanceState.BUSY,
    InstanceState.READY,
    InstanceState.WAKING,
    InstanceState.IDLE,
    InstanceState.SUSPENDING,
    InstanceState.WARMING,
    InstanceState.STARTING,
    InstanceState.CREATING,
)


def phase(instances: Iterable[Instance]) -> str:
    """What those who wait for a pool wait for: the state of the instance that will serve first, or "pending"
    if none is on its way yet."""
    there = {instance.state for instance in instances}
    return next((state.value for state in _PHASES if state in there), "pending")


def is_hopeless(crashed: Crashes | None) -> bool:
    """The revision fails to start again and again."""
    return crashed is not None and crashed.before_ready and crashed.count >= HOPELESS_AFTER


def not_started(key: PoolKey, crashed: Crashes | None) -> Refused:
    reason = crashed.error if crashed else "no instance started"
    return Refused(412, "FunctionNotStarted", f"no instance of {key} is up: {reason}", 5)


def waited_too_long(key: PoolKey, settings: PoolSettings) -> Refused:
    return Refused(
        429,
        "ResourceExhausted",
        f"no instance of {key} became free within {settings.queue_wait_seconds:g} s",
        BUSY_RETRY_SECONDS,
    )

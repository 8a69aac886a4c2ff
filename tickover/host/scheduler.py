"""What should happen to the pools now: a function of what is wanted, what is there, and the time.

Owns: how many instances start and which ones go, in which order; when an empty one is suspended; how long a
crashing revision waits; when idle ones are woken ahead of a schedule; when an old one is replaced. Promises:
pure, no clock, no I/O; the same input gives the same effects in the same order. New before old: instances of
a former revision serve until `target` new ones are up, one that has reached its greatest age until its
replacement is up, and a version whose share of an alias shrinks until the other one has grown. Never: changes
an instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tickover.host.clock import seconds_ns
from tickover.host.instance import (
    Crashes,
    Instance,
    PoolKey,
    PoolSettings,
    deepest_of,
    drain_ns,
    linger_ns,
    max_age_ns,
    wake_ahead_ns,
)
from tickover.host.model import Deepest, DesiredPool, InstanceState
from tickover.host.states import LIVING, STARTING, UP, Event

CrashKey = tuple[PoolKey, str]  # (pool, revision)
_RESTING = frozenset({InstanceState.READY, InstanceState.IDLE})  # up and empty


@dataclass(frozen=True, slots=True)
class Start:
    """Start one more instance of a pool."""

    pool: DesiredPool


@dataclass(frozen=True, slots=True)
class Tell:
    """An event for an instance, decided by the scheduler."""

    instance_id: str
    event: Event
    reason: str = ""


Do = Start | Tell


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and when to look again even if nothing happens (monotonic ns)."""

    effects: tuple[Do, ...]
    next_ns: int | None

    def to_text(self) -> str:
        """One effect a line."""
        return "\n".join(_text(effect) for effect in self.effects)


def decide(
    pools: Iterable[DesiredPool],
    instances: Iterable[Instance],
    crashes: Mapping[CrashKey, Crashes],
    now_ns: int,
    settings: PoolSettings,
    *,
    wall_ns: int,
) -> Decision:
    """All effects that are due now. now_ns: monotonic; wall_ns: the same moment by the clock of schedules."""
    there = sorted(instances, key=_by_age)
    effects: list[Do] = []
    times: list[int] = []
    wanted = {PoolKey.of(pool): pool for pool in pools}
    room = settings.max_starting - sum(i.state in STARTING for i in there)
    held: dict[PoolKey, int] = {}  # since when
    for key in sorted(wanted):
        of_pool = [i for i in there if i.key == key]
        pool = replace(wanted[key], target=_size(key, wanted, there))
        starts, look = _starts(pool, of_pool, crashes.get((key, pool.revision)), now_ns, settings)
        starts = min(starts, max(0, room))
        room -= starts
        effects.extend([Start(wanted[key])] * starts)
        times.extend(look)
        aged, birthdays = _aged(pool, of_pool, now_ns)
        effects.extend(_retirements(pool, of_pool, aged))
        since, edges = _held(pool, now_ns, wall_ns, settings)
        if since is not None:
            held[key] = since
        times += [*birthdays, *edges]
    for instance in there:
        if instance.key not in wanted and instance.state in LIVING:
            effects.append(Tell(instance.instance_id, Event.RETIRED, "its pool is no longer declared"))
    retired = {effect.instance_id for effect in effects if isinstance(effect, Tell)}
    for instance in there:
        if instance.instance_id in retired:
            continue
        since = held.get(instance.key)
        if since is not None and instance.state is InstanceState.READY:
            continue
        # Once: where another one needs its card meanwhile, they would wake each other's places away in turns.
        if since is not None and instance.state is InstanceState.IDLE and instance.wake_mono_ns < since:
            effects.append(Tell(instance.instance_id, Event.WAKE_ASKED))
            continue
        effects.extend(_due(instance, now_ns, settings))
        times.extend(_deadlines(instance, settings))
    return Decision(tuple(effects), min((t for t in times if t > now_ns), default=None))


def _size(key: PoolKey, wanted: Mapping[PoolKey, DesiredPool], there: Iterable[Instance]) -> int:
    """A pool's target, or more: while an alias' other version has too few up, what this one has already."""
    pool, other = wanted[key], wanted.get(key.other)
    if other is None:
        return pool.target
    there = list(there)
    up = sum(i.key == key.other and i.revision == other.revision and i.state in UP for i in there)
    living = sum(i.key == key and i.revision == pool.revision and i.state in LIVING for i in there)
    return max(pool.target, min(living, pool.target + max(0, other.target - up)))


def _starts(
    pool: DesiredPool,
    of_pool: list[Instance],
    crashed: Crashes | None,
    now_ns: int,
    settings: PoolSettings,
) -> tuple[int, list[int]]:
    living = sum(i.state in LIVING and i.revision == pool.revision for i in of_pool)
    aged, _ = _aged(pool, of_pool, now_ns)
    spare = int(_may_replace(pool, of_pool, aged))
    missing = max(0, pool.target + spare - living)
    if not missing or crashed is None:
        return missing, []
    allowed_ns = crashed.last_mono_ns + backoff_ns(crashed.count, settings)
    # A revision that fails is tried with one instance at a time.
    return (min(missing, 1), []) if allowed_ns <= now_ns else (0, [allowed_ns])


def backoff_ns(count: int, settings: PoolSettings) -> int:
    """How long a revision waits after so many failures in a row: not at all after the first one."""
    if count <= 1:
        return 0
    doublings = min(count - 2, 30)
    return seconds_ns(min(settings.backoff_first_seconds * 2**doublings, settings.backoff_max_seconds))


def _aged(pool: DesiredPool, of_pool: list[Instance], now_ns: int) -> tuple[list[Instance], list[int]]:
    """The instances that have reached their greatest age, and when others will."""
    limit = max_age_ns(pool.spec)
    if limit is None:
        return [], []
    up = [i for i in of_pool if i.state in UP and i.revision == pool.revision]
    ends = [i.created_mono_ns + limit for i in up]
    return [i for i, end in zip(up, ends, strict=True) if end <= now_ns], [e for e in ends if e > now_ns]


def _may_replace(pool: DesiredPool, of_pool: list[Instance], aged: list[Instance]) -> bool:
    """Whether to replace an old instance now: one is empty, and nothing else changes in the pool."""
    if not any(i.state in _RESTING for i in aged):
        return False
    at_rest = all(i.state in UP and i.revision == pool.revision for i in of_pool)
    return at_rest and len(of_pool) == pool.target


def too_many(pool: DesiredPool, of_pool: Iterable[Instance]) -> tuple[Instance, ...]:
    """Whom a pool only keeps until an alias' other version has grown, for where there is no room for that."""
    living = sorted((i for i in of_pool if i.revision == pool.revision and i.state in LIVING), key=_worth)
    return tuple(living[: max(0, len(living) - pool.target)])


def in_the_way(
    pool: DesiredPool, of_pool: Iterable[Instance], starting: Instance, now_ns: int
) -> tuple[Instance, ...]:
    """Whom a starting instance replaces, for where there is no room for both: all of former revisions, or the
    old one whose replacement it is, if that has nothing to do."""
    there = sorted(of_pool, key=_by_age)
    former = tuple(i for i in there if i.revision != starting.revision)
    living = sum(i.state in LIVING and i.revision == starting.revision for i in there)
    aged = [i for i in _aged(pool, there, now_ns)[0] if i.state in _RESTING]
    if former or not aged or starting.revision != pool.revision or living <= pool.target:
        return former
    return (min(aged, key=_worth),)


def _by_age(instance: Instance) -> tuple[int, str]:
    return instance.created_mono_ns, instance.instance_id


def _retirements(pool: DesiredPool, of_pool: list[Instance], aged: list[Instance]) -> Iterator[Tell]:
    """Who goes: former revisions once the new one is up, who is too many, who has been replaced."""
    living = [i for i in of_pool if i.state in LIVING]
    new = [i for i in living if i.revision == pool.revision]
    old = [i for i in living if i.revision != pool.revision]
    # A former canary serves nobody: until the next one is up, the alias' own version does.
    if sum(i.state in UP for i in new) >= pool.target or pool.is_canary:
        for instance in old:
            yield Tell(instance.instance_id, Event.RETIRED, "a new revision has taken over")
    elif len(old) > pool.target:
        # The pool shrank while its new revision is on the way.
        for instance in sorted(old, key=_worth)[: len(old) - pool.target]:
            yield Tell(instance.instance_id, Event.RETIRED, "the pool has shrunk")
    excess = max(0, len(new) - pool.target)
    if excess == 1 and aged:
        if sum(i.state in UP for i in new) > pool.target:
            instance = min(aged, key=_worth)
            yield Tell(
                instance.instance_id, Event.RETIRED, "it has reached its greatest age and was replaced"
            )
        return  # else its replacement is on the way
    for instance in sorted(new, key=_worth)[:excess]:
        yield Tell(instance.instance_id, Event.RETIRED, "the pool has shrunk")


_WORTH: Mapping[InstanceState, int] = {
    InstanceState.CREATING: 0,
    InstanceState.STARTING: 0,
    InstanceState.WARMING: 1,
    InstanceState.IDLE: 2,
    InstanceState.SUSPENDING: 3,
    InstanceState.READY: 4,
    InstanceState.WAKING: 5,
    InstanceState.BUSY: 6,
}


def _worth(instance: Instance) -> tuple[int, int, int, int, str]:
    """Sort key: who is missed least comes first: with fewer sessions, then less awake. Busy ones go last, the
    least loaded of them first."""
    return (
        instance.sessions,
        _WORTH[instance.state],
        instance.in_flight,
        instance.empty_mono_ns,
        instance.instance_id,
    )


def _held(
    pool: DesiredPool, now_ns: int, wall_ns: int, settings: PoolSettings
) -> tuple[int | None, list[int]]:
    """Since when a pool's instances have to be awake for what a schedule asks, and when that changes.

    From `wake_ahead` before it until they have lingered after it.
    """
    ahead = wake_ahead_ns(pool.spec)
    if not ahead or not pool.idle_enabled:
        return None, []
    offset = now_ns - wall_ns
    windows = [(at + offset - ahead, at + offset + linger_ns(pool.spec, settings)) for at in pool.expected_ns]
    since = min((begin for begin, end in windows if begin <= now_ns < end), default=None)
    return since, [t for pair in windows for t in pair]


def _due(instance: Instance, now_ns: int, settings: PoolSettings) -> Iterator[Tell]:
    due = _deadlines(instance, settings)
    if not due or due[0] > now_ns:
        return
    if instance.state is InstanceState.READY:
        yield Tell(instance.instance_id, Event.LINGERED)
    elif instance.state is InstanceState.IDLE:
        yield Tell(instance.instance_id, Event.SINK)
    else:
        yield Tell(instance.instance_id, Event.DRAINED, "its last requests took too long")


def _deadlines(instance: Instance, settings: PoolSettings) -> list[int]:
    goes_idle = instance.idle_enabled and deepest_of(instance.spec, settings) is not Deepest.NONE
    if instance.state is InstanceState.READY and goes_idle:
        return [instance.empty_mono_ns + linger_ns(instance.spec, settings)]
    if instance.state is InstanceState.IDLE and instance.sink_ns is not None:
        return [instance.sink_ns]
    if instance.state is InstanceState.DRAINING:
        return [instance.drain_mono_ns + drain_ns(instance.spec, settings)]
    return []


def is_stable(instance: Instance, now_ns: int, settings: PoolSettings) -> bool:
    """Up for long enough that a crash now is not the next one of a row."""
    if instance.ready_mono_ns is None:
        return False
    return now_ns - instance.ready_mono_ns >= seconds_ns(settings.stable_seconds)


def after_crash(former: Crashes | None, instance: Instance, now_ns: int, settings: PoolSettings) -> Crashes:
    """The record of a revision after one more failure."""
    count = 0 if former is None or is_stable(instance, now_ns, settings) else former.count
    return Crashes(count + 1, now_ns, instance.reason, instance.ready_mono_ns is None)


def _text(effect: Do) -> str:
    match effect:
        case Start(pool):
            return f"start {pool.function_name}.{pool.qualifier} revision {pool.revision}"
        case Tell(instance_id, event, reason):
            return f"{event.value} {instance_id}" + (f": {reason}" if reason else "")

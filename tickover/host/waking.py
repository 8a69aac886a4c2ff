"""Waking without a request: by hand, before somebody asks.

Owns: the wait until those that were told to wake have done so. Promises: each instance is told once; one that
is just going idle is awaited if more are wanted; ends when each wake has ended. Never: changes a state but by
telling an event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from tickover.host.admission import idle_first
from tickover.host.clock import Clock
from tickover.host.instance import Instance, PoolKey
from tickover.host.model import InstanceState, Woken
from tickover.host.roster import Roster
from tickover.host.states import ENDING, SERVING, Event


async def wake_idle(
    roster: Roster,
    lanes: tuple[PoolKey, ...],
    count: int | None,
    clock: Clock,
    happened: Callable[[Instance, Event], None],
    next_change: Callable[[], Awaitable[None]],
) -> Woken:
    """Wake the idle instances of a pool (an alias' own version first), at most count of them."""
    began = clock.mono_ns()
    asked: dict[str, Instance] = {}
    awaited: dict[str, int] = {}  # since when each is waking
    while True:
        for instance in _idle_first(roster, lanes):
            if instance.instance_id not in asked and (count is None or len(asked) < count):
                asked[instance.instance_id] = instance
                happened(instance, Event.WAKE_ASKED)
        there = [instance for key in lanes for instance in roster.of(key)]
        # One that is put off may be told again by who waits for it: a later wake is not this one.
        waking = [
            i
            for i in there
            if i.state is InstanceState.WAKING
            and awaited.setdefault(i.instance_id, i.wake_mono_ns) == i.wake_mono_ns
        ]
        wants_more = count is None or len(asked) < count
        if not waking and not (wants_more and any(i.state is InstanceState.SUSPENDING for i in there)):
            woke = sum(i.empty_mono_ns >= began and i.state not in ENDING for i in asked.values())
            return Woken(woke, len(asked) - woke, sum(i.state in SERVING for i in there))
        await next_change()


def _idle_first(roster: Roster, lanes: tuple[PoolKey, ...]) -> Iterator[Instance]:
    for key in lanes:
        yield from idle_first(roster.of(key), roster.revision(key))

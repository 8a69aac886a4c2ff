"""Waking without a request: by hand, before somebody asks.

Owns: the wait until those that were told to wake have done so. Promises: each instance is told once; one that
is just going idle is awaited if more are wanted; ends when nobody is waking any more. Never: changes a state
but by telling an event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tickover.host.admission import idle_first
from tickover.host.clock import Clock
from tickover.host.instance import Instance, PoolKey
from tickover.host.model import InstanceState, Woken
from tickover.host.roster import Roster
from tickover.host.states import ENDING, SERVING, Event


async def wake_idle(
    roster: Roster,
    key: PoolKey,
    count: int | None,
    clock: Clock,
    happened: Callable[[Instance, Event], None],
    next_change: Callable[[], Awaitable[None]],
) -> Woken:
    """Wake the idle instances of a pool, at most count of them."""
    began = clock.mono_ns()
    asked: dict[str, Instance] = {}
    while True:
        for instance in idle_first(roster.of(key), roster.revision(key)):
            if instance.instance_id not in asked and (count is None or len(asked) < count):
                asked[instance.instance_id] = instance
                happened(instance, Event.WAKE_ASKED)
        states = [instance.state for instance in roster.of(key)]
        more = InstanceState.SUSPENDING in states and (count is None or len(asked) < count)
        if InstanceState.WAKING not in states and not more:
            woke = sum(i.empty_mono_ns >= began and i.state not in ENDING for i in asked.values())
            return Woken(woke, len(asked) - woke, sum(state in SERVING for state in states))
        await next_change()

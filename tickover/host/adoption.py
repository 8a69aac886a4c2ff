"""After a former host: what is left, and what it becomes.

Owns: the state that an instance of a former host is taken over in. Promises: what cannot go on is ended, what
can goes on where it is; one of which a living host has told goes on as it was. Never: looks at a process
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tickover.host.clock import Clock
from tickover.host.handover import Former, restore, resumed_state
from tickover.host.hooks import initializer_of
from tickover.host.instance import Instance, PoolSettings, may_sleep
from tickover.host.model import InstanceState
from tickover.host.runtimes.base import Condition
from tickover.host.states import ENDING, STARTING, UP, Effect

GONE_REASON = "it ended while no host was running"
STRANDED_REASON = "its host ended before it was up"
# What is begun with one that is taken over.
ADOPTION_EFFECT = {
    InstanceState.STARTING: Effect.CHECK_HEALTH,
    InstanceState.WARMING: Effect.WARM_UP,
    InstanceState.WAKING: Effect.THAW,
    InstanceState.STOPPING: Effect.STOP,
}


def adopted_state(
    noted: InstanceState, condition: Condition, *, may_sleep: bool, may_be_initialized: bool = False
) -> InstanceState | None:
    """The state to go on in; STOPPING for one that has to be ended, None for one that is gone.

    may_sleep: its server may be asleep though its processes run (a host that ended on the way down or up
    leaves it so): it has to be woken before it is trusted with a request. may_be_initialized: it has an
    initializer, which is called once in a life, and nobody knows whether the former host has called it.
    Whatever an instance had in flight ended with its former host.
    """
    if condition is Condition.GONE:
        return None
    if noted in ENDING:
        return InstanceState.STOPPING
    if noted in STARTING:
        # Only a ready instance is ever frozen by us: this one was stopped by somebody else.
        is_running = condition is Condition.RUNNING
        can_go_on = is_running and not may_be_initialized
        return InstanceState.STARTING if can_go_on else InstanceState.STOPPING
    if condition is Condition.FROZEN:
        return InstanceState.IDLE
    return InstanceState.WAKING if may_sleep else InstanceState.READY


@dataclass(slots=True)
class Adopted:
    """Those that go on (or have to be ended), and those that are gone already."""

    living: list[Instance] = field(default_factory=list)
    gone: list[Instance] = field(default_factory=list)


def adopt(
    noted: Iterable[Instance],
    condition_of: Callable[[Instance], Condition],
    former: Former,
    clock: Clock,
    settings: PoolSettings,
) -> Adopted:
    """What the instances on disk become; writes it to them."""
    found = Adopted()
    for instance in noted:
        condition, told = condition_of(instance), former.told.get(instance.instance_id)
        state = resumed_state(told, condition, former.in_flight(instance.instance_id))
        if told is not None and state is not None:
            restore(instance, told)
            instance.state = state
            found.living.append(instance)
            continue
        can, begun = may_sleep(instance, settings), initializer_of(instance.spec) is not None
        state = adopted_state(instance.state, condition, may_sleep=can, may_be_initialized=begun)
        if state is None:
            instance.state = InstanceState.STOPPED
            instance.reason = instance.reason or GONE_REASON
            instance.destroyed_wall_ns = clock.wall_ns()
            found.gone.append(instance)
            continue
        if state is InstanceState.STOPPING:
            instance.reason = instance.reason or STRANDED_REASON
        has_served = state in UP or instance.state is InstanceState.DRAINING
        instance.state = state
        instance.empty_mono_ns = clock.mono_ns()
        if has_served:
            instance.ready_mono_ns = instance.empty_mono_ns
        found.living.append(instance)
    return found

"""After a former host: what is left, and what it becomes.

Owns: the state that an instance of a former host is taken over in. Promises: pure; what cannot go on is
ended, what can goes on where it is. Never: looks at a process itself.
"""

from __future__ import annotations

from tickover.host.model import InstanceState
from tickover.host.runtimes.base import Condition
from tickover.host.states import ENDING, STARTING, Effect

GONE_REASON = "it ended while no host was running"
STRANDED_REASON = "its host ended before it was up"
# What is begun with one that is taken over.
ADOPTION_EFFECT = {
    InstanceState.STARTING: Effect.CHECK_HEALTH,
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

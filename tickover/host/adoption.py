"""After a former host: what is left, and what it becomes.

Owns: the state that an instance of a former host is taken over in. Promises: pure; what cannot go on is
ended, what can goes on where it is. Never: looks at a process itself.
"""

from __future__ import annotations

from tickover.host.model import InstanceState
from tickover.host.runtimes.base import Condition
from tickover.host.states import ENDING, STARTING

GONE_REASON = "it ended while no host was running"
STRANDED_REASON = "its host ended before it was up"


def adopted_state(noted: InstanceState, condition: Condition) -> InstanceState | None:
    """The state to go on in; STOPPING for one that has to be ended, None for one that is gone.

    Whatever an instance had in flight ended with its former host.
    """
    if condition is Condition.GONE:
        return None
    if noted in ENDING:
        return InstanceState.STOPPING
    if noted in STARTING:
        # Only a ready instance is ever frozen by us: this one was stopped by somebody else.
        is_running = condition is Condition.RUNNING
        return InstanceState.STARTING if is_running else InstanceState.STOPPING
    return InstanceState.IDLE if condition is Condition.FROZEN else InstanceState.READY

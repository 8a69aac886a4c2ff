"""The life of an instance as one table.

Owns: which event leads from which state to which, and what each state is billed as. Promises: total: every
(state, event) pair either moves, is ignored, or raises and leaves the state as it was. Never: does anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from tickover.host.model import BillingClass, InstanceState, PreStop

S = InstanceState


class Event(Enum):
    """What has happened to an instance."""

    SPAWNED = "spawned"  # its process exists
    HEALTHY = "healthy"  # the start's health check passed
    WARMED = "warmed"  # the warm-up request is over
    ADMITTED = "admitted"  # a request was given to it
    EMPTIED = "emptied"  # its last request is over
    LINGERED = "lingered"  # empty for as long as it lingers
    FROZEN = "frozen"
    FREEZE_FAILED = "freeze_failed"
    WAKE_ASKED = "wake_asked"
    WOKEN = "woken"
    WAKE_DENIED = "wake_denied"  # its cards have no room for it now: it is as it was
    SINK = "sink"  # asleep for as long as it may hold what that leaves on its cards
    RETIRED = "retired"  # no longer wanted
    DRAINED = "drained"  # retired and empty, or drained for too long
    PRE_STOP_BEGUN = "pre_stop_begun"  # its preStop hook is called now
    PRE_STOP_OVER = "pre_stop_over"  # and has returned, or is not called at all
    FAULTED = "faulted"  # alive but no good: start deadline, failed wake, failed checks
    EXITED = "exited"  # ended by itself
    ENDED = "ended"  # nothing of it is left after a stop

    __hash__ = object.__hash__  # as InstanceState's


class Effect(Enum):
    """What the owner has to do after a move."""

    NONE = "none"
    CHECK_HEALTH = "check_health"
    WARM_UP = "warm_up"
    FREEZE = "freeze"
    THAW = "thaw"
    SINK = "sink"  # have the driver take the rest
    STOP = "stop"  # end it politely
    KILL = "kill"  # end what is left of it
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Move:
    state: InstanceState
    effect: Effect = Effect.NONE


@dataclass(eq=False)
class IllegalEvent(Exception):
    """An event that cannot happen in a state. The state is unchanged."""

    state: InstanceState
    event: Event

    def __str__(self) -> str:
        return f"'{self.event.value}' cannot happen while {self.state.value}. This is a bug in tickover."


LIVING = frozenset({S.CREATING, S.STARTING, S.WARMING, S.READY, S.BUSY, S.SUSPENDING, S.IDLE, S.WAKING})
SERVING = frozenset({S.READY, S.BUSY})
LADEN = frozenset({S.BUSY, S.DRAINING})  # with requests in flight
STARTING = frozenset({S.CREATING, S.STARTING, S.WARMING})
UP = frozenset({S.READY, S.BUSY, S.SUSPENDING, S.IDLE, S.WAKING})  # counted in `current`
ENDED = frozenset({S.STOPPING, S.STOPPED, S.FAILED})  # work on nothing any more
ENDING = frozenset({S.DRAINING, S.STOPPING, S.FAILED, S.STOPPED})

_STOPPING = Move(S.STOPPING, Effect.STOP)
_FAILED = Move(S.FAILED, Effect.KILL)
_END = {Event.RETIRED: _STOPPING, Event.FAULTED: _FAILED, Event.EXITED: _FAILED}

TABLE: Mapping[InstanceState, Mapping[Event, Move]] = {
    S.CREATING: {**_END, Event.SPAWNED: Move(S.STARTING, Effect.CHECK_HEALTH)},
    S.STARTING: {**_END, Event.HEALTHY: Move(S.WARMING, Effect.WARM_UP)},
    S.WARMING: {**_END, Event.WARMED: Move(S.READY)},
    S.READY: {
        **_END,
        Event.ADMITTED: Move(S.BUSY),
        Event.LINGERED: Move(S.SUSPENDING, Effect.FREEZE),
    },
    S.BUSY: {
        **_END,
        Event.EMPTIED: Move(S.READY),
        Event.RETIRED: Move(S.DRAINING),
    },
    S.SUSPENDING: {**_END, Event.FROZEN: Move(S.IDLE), Event.FREEZE_FAILED: Move(S.READY)},
    S.IDLE: {
        **_END,
        Event.WAKE_ASKED: Move(S.WAKING, Effect.THAW),
        Event.SINK: Move(S.IDLE, Effect.SINK),
    },
    S.WAKING: {**_END, Event.WOKEN: Move(S.READY), Event.WAKE_DENIED: Move(S.IDLE)},
    S.DRAINING: {
        Event.EMPTIED: _STOPPING,
        Event.DRAINED: _STOPPING,
        Event.FAULTED: _FAILED,
        Event.EXITED: _FAILED,
    },
    S.STOPPING: {
        Event.PRE_STOP_BEGUN: Move(S.STOPPING),
        Event.PRE_STOP_OVER: Move(S.STOPPING),
        Event.ENDED: Move(S.STOPPED, Effect.FORGET),
    },
    S.FAILED: {Event.ENDED: Move(S.FAILED, Effect.FORGET)},
    S.STOPPED: {},
}

# Late news of work that a faster event has overtaken, and requests that end after their instance did.
_LATE = frozenset(
    {
        Event.SPAWNED,
        Event.HEALTHY,
        Event.WARMED,
        Event.FROZEN,
        Event.FREEZE_FAILED,
        Event.WOKEN,
        Event.WAKE_DENIED,
        Event.EMPTIED,
        Event.RETIRED,
        Event.FAULTED,
        Event.EXITED,
        Event.DRAINED,
    }
)
IGNORED: Mapping[InstanceState, frozenset[Event]] = {
    S.BUSY: frozenset({Event.LINGERED}),
    S.DRAINING: frozenset({Event.RETIRED}),
    S.STOPPING: _LATE,
    S.FAILED: _LATE,
    S.STOPPED: _LATE,
}


def step(state: InstanceState, event: Event) -> Move | None:
    """Where event leads from state; None if it says nothing new. Raises IllegalEvent."""
    move = TABLE[state].get(event)
    if move is None and event not in IGNORED.get(state, frozenset()):
        raise IllegalEvent(state, event)
    return move


# What a state is billed as, with the idle switch on. None: not metered.
BILLED: Mapping[InstanceState, BillingClass | None] = {
    S.CREATING: None,  # no process yet
    S.STARTING: BillingClass.STARTING,
    S.WARMING: BillingClass.STARTING,
    S.READY: BillingClass.IDLE,  # nothing in flight: lingering is our choice, not the customer's
    S.BUSY: BillingClass.BUSY,
    S.SUSPENDING: BillingClass.IDLE,
    S.IDLE: BillingClass.IDLE,
    S.WAKING: BillingClass.IDLE,  # no request is being processed yet
    S.DRAINING: BillingClass.BUSY,  # only an instance with requests drains
    S.STOPPING: None,  # the reservation ends when the stop is asked for, or with the preStop hook
    S.FAILED: None,
    S.STOPPED: None,
}


# What an instance that stops and has a preStop hook is billed as: FC bills a hook as active.
PRE_STOP_BILLED: Mapping[PreStop, BillingClass | None] = {
    PreStop.AHEAD: BillingClass.IDLE,  # it is woken, as for a request
    PreStop.CALLED: BillingClass.BUSY,
    PreStop.OVER: None,
}


def billing_class(
    state: InstanceState, *, idle_enabled: bool, pre_stop: PreStop = PreStop.OVER
) -> BillingClass | None:
    """The class of a state; without the idle switch whatever is up is billed as busy.

    pre_stop: how far the hook is of one that stops; OVER if it has none.
    """
    billed = PRE_STOP_BILLED[pre_stop] if state is S.STOPPING else BILLED[state]
    return BillingClass.BUSY if billed is BillingClass.IDLE and not idle_enabled else billed

"""What an event leaves on an instance besides its state: the times that later decisions count from, and how
far its preStop hook is.

Owns: what of that is set by which event. Promises: pure but for the instance that it is given. Never: reads a
clock.
"""

from __future__ import annotations

from tickover.host.instance import Instance, PoolSettings, deep_after_ns
from tickover.host.model import Deepest, PreStop
from tickover.host.states import Event


def stamp(instance: Instance, event: Event, now_ns: int, settings: PoolSettings) -> None:
    """Write down when it happened. now_ns: monotonic."""
    if event is Event.ADMITTED:  # with EMPTIED by far the most frequent
        return
    match event:
        case Event.EMPTIED | Event.WOKEN | Event.FREEZE_FAILED:
            instance.empty_mono_ns = now_ns
        case Event.SPAWNED:
            instance.spawned_mono_ns = now_ns
        case Event.WARMED:
            instance.ready_mono_ns = instance.empty_mono_ns = now_ns
        case Event.FROZEN if instance.can_deep and instance.rung is Deepest.SLEEP:
            after = deep_after_ns(instance.spec, settings)
            instance.sink_ns = instance.sink_ns if after is None else now_ns + after
        case Event.WAKE_ASKED:
            instance.wake_mono_ns, instance.sink_ns = now_ns, None
        case Event.SINK:
            instance.sink_ns = None
        case Event.RETIRED:
            instance.drain_mono_ns = now_ns
        case Event.PRE_STOP_BEGUN:
            instance.pre_stop = PreStop.CALLED
        case Event.PRE_STOP_OVER:
            instance.pre_stop = PreStop.OVER

"""What one host tells the next one when it hands its instances over.

Owns: the values that go from a living host to its successor, and what an instance becomes there. Promises:
pure; what was told is trusted only where the instance still looks like it, else it is taken over as after a
kill. Never: any I/O, a socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tickover.host.instance import Instance
from tickover.host.model import Deepest, InstanceState, Lease
from tickover.host.runtimes.base import Condition

PROTOCOL: Final = 1
S = InstanceState

# What a step of is short enough to wait for: cut off in it, an instance is woken or started anew.
UNSETTLED: Final = frozenset({S.CREATING, S.SUSPENDING, S.WAKING})


@dataclass(eq=False)
class HandedOver(Exception):
    """The instances have gone to another owner while a request waited for one: ask whoever owns them now."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a living host knows of an instance beyond what is on disk. Times are monotonic ns."""

    instance_id: str
    state: InstanceState
    rung: Deepest
    can_sleep: bool | None
    is_unhealthy: bool
    hook_ns: int
    spawned_mono_ns: int | None
    ready_mono_ns: int | None
    empty_mono_ns: int
    drain_mono_ns: int
    wake_mono_ns: int
    sink_ns: int | None


_KEPT: Final = (
    "rung",
    "can_sleep",
    "is_unhealthy",
    "hook_ns",
    "spawned_mono_ns",
    "ready_mono_ns",
    "empty_mono_ns",
    "drain_mono_ns",
    "wake_mono_ns",
    "sink_ns",
)


@dataclass(frozen=True, slots=True)
class Former:
    """What the next owner has to know. leases: requests that go on, in the hands of the former host."""

    told: Mapping[str, Told] = field(default_factory=dict)
    leases: tuple[Lease, ...] = ()

    def in_flight(self, instance_id: str) -> int:
        return sum(lease.instance_id == instance_id for lease in self.leases)


NOBODY: Final = Former()


@dataclass(frozen=True, slots=True)
class Held:
    """A lease of a former host. number: that host's own name of it."""

    holder: str
    number: int
    lease: Lease


def tell(instances: Iterable[Instance]) -> dict[str, Told]:
    """What is to be told of these; those that do not exist yet are left out."""
    return {
        i.instance_id: Told(i.instance_id, i.state, *(getattr(i, name) for name in _KEPT))
        for i in instances
        if i.ref
    }


def restore(instance: Instance, told: Told) -> None:
    """Give an instance that was read from disk what was told of it, but for its state."""
    for name in _KEPT:
        setattr(instance, name, getattr(told, name))


def resumed_state(told: Told | None, condition: Condition, in_flight: int) -> InstanceState | None:
    """The state to go on in as if nothing had happened; None: as after a kill."""
    if told is None:
        return None
    is_running = condition is Condition.RUNNING
    match told.state:
        case S.READY | S.BUSY if is_running:
            return S.BUSY if in_flight else S.READY
        case S.DRAINING if is_running and in_flight:
            return S.DRAINING
        case S.WARMING if is_running:
            return S.WARMING
        case S.IDLE if condition is Condition.FROZEN:
            return S.IDLE
        case _:
            return None


# -- as JSON -----------------------------------------------------------------------------------------------


def told_json(told: Told) -> dict[str, Any]:
    return {**asdict(told), "state": told.state.value, "rung": told.rung.value}


def told_from(found: Mapping[str, Any]) -> Told:
    """Raises KeyError, TypeError or ValueError for what is no such thing."""
    return Told(**{**found, "state": InstanceState(found["state"]), "rung": Deepest(found["rung"])})


def lease_from(found: Mapping[str, Any]) -> Lease:
    return Lease(**found)


def former_json(former: Former, held: Iterable[Held]) -> dict[str, Any]:
    """All of it, for a host that reads `former_from`."""
    return {
        "told": [told_json(told) for told in former.told.values()],
        "held": [{"holder": h.holder, "number": h.number, "lease": asdict(h.lease)} for h in held],
    }


def former_from(found: Mapping[str, Any]) -> tuple[Former, tuple[Held, ...]]:
    """Raises KeyError, TypeError or ValueError."""
    told = [told_from(one) for one in found["told"]]
    held = tuple(
        Held(str(one["holder"]), int(one["number"]), lease_from(one["lease"])) for one in found["held"]
    )
    return Former({one.instance_id: one for one in told}, tuple(one.lease for one in held)), held

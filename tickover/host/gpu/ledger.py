"""Who has which card, how much of it, and how much host memory: the reservations of the GPU side.

Owns: the record of what each instance holds on its cards and in pinned host memory, and admission (`swaps`
moves it). Promises: pure; no answer of `admit` or `moved` lets the sum on a card or in host memory pass what
there is; memory of an ended process counts until a reading shows it free. Never: reads a card or a clock,
does anything to an instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from tickover.host.gpu.inventory import Inventory
from tickover.host.gpu.nvml import GIB, MIB

ModelKey = tuple[str, str]  # image digest, model


class Tier(Enum):
    """How much of its card an instance has."""

    DOWN = "down"  # placed, no process yet
    STARTING = "starting"
    AWAKE = "awake"
    ASLEEP = "asleep"  # the engine gave its memory up; a residue is left
    DEEP = "deep"  # checkpointed by the driver: nothing is left
    WAKING = "waking"
    ENDING = "ending"  # its process was told to end; the card may not show it yet


FULL: Final = frozenset({Tier.STARTING, Tier.AWAKE, Tier.WAKING})


@dataclass(frozen=True, slots=True)
class Need:
    """What one instance asks for. awake_bytes: on each of its cards; weights_bytes: over all of them.

    is_whole: nobody else on its cards. can_deep: the driver may checkpoint it; only an engine that can sleep
    may be, because a request that reaches a checkpointed engine which is not asleep kills it.
    """

    instance_id: str
    function_name: str
    image_digest: str
    model: str
    awake_bytes: int
    weights_bytes: int
    cards: int = 1
    is_whole: bool = False
    can_sleep: bool = True
    can_deep: bool = False

    def __post_init__(self) -> None:
        if self.can_deep and not self.can_sleep:
            raise ValueError(f"instance {self.instance_id} cannot be checkpointed: its engine cannot sleep")
        if self.cards < 1 or self.awake_bytes < 1:
            raise ValueError(f"instance {self.instance_id} asks for no card or no memory")

    @property
    def key(self) -> ModelKey:
        return self.image_digest, self.model


@dataclass(frozen=True, slots=True)
class Holding:
    """An instance on its cards. Measured figures replace the assumed ones. used_ns: its last request."""

    need: Need
    cards: tuple[str, ...]
    tier: Tier = Tier.DOWN
    in_flight: int = 0
    used_ns: int = 0
    awake_ns: int = 0  # since when it is awake
    is_moving: bool = False  # part of a swap that is under way
    residue_bytes: int | None = None  # on its fullest card
    pinned_bytes: int | None = None
    ending_bytes: int = 0  # what it held on each card when it was killed

    @property
    def instance_id(self) -> str:
        return self.need.instance_id


@dataclass(frozen=True, slots=True)
class Rules:
    """The assumptions and margins of a host.

    pinned_factor: an engine asleep holds its weights in pinned memory, in blocks rounded up to powers of two.
    tree_bytes: what its processes use besides. spare_bytes: kept free on a shared card, so that the next
    restore can begin while the card's owner is still awake. rest_ns: nobody is evicted sooner after its wake.
    patience_ns: who waits for so long for one that is never without a request has newcomers held from it,
    until it is, or for hold_ns.
    """

    pinned_factor: float = 1.4
    tree_bytes: int = 4 * GIB
    assumed_residue_bytes: int = 4 * GIB
    headroom_bytes: int = 256 * MIB
    spare_bytes: int = 2560 * MIB
    rest_ns: int = 1_000_000_000
    patience_ns: int = 5_000_000_000
    hold_ns: int = 20_000_000_000
    growth_factor: float = 1.25
    growth_bytes: int = 256 * MIB


@dataclass(frozen=True, slots=True)
class Room:
    """A card's memory: foreign_bytes are held by processes that are not ours."""

    uuid: str
    total_bytes: int
    floor_bytes: int
    foreign_bytes: int = 0
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """The state. ram_bytes: host memory that instances may use in all."""

    rooms: Mapping[str, Room]
    ram_bytes: int
    rules: Rules = field(default_factory=Rules)
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    residues: Mapping[ModelKey, int] = field(default_factory=dict)
    pinned: Mapping[ModelKey, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Denied:
    """It cannot be done; reason is a sentence for a person. is_final: waiting will not help."""

    reason: str
    is_final: bool = True


def open_ledger(inventory: Inventory, ram_bytes: int, rules: Rules | None = None) -> Ledger:
    rooms = {p.card.uuid: Room(p.card.uuid, p.card.total_bytes, p.floor.used_bytes) for p in inventory.places}
    return Ledger(rooms, ram_bytes, rules or Rules())


# -- sums ------------------------------------------------------------------------------------------------


def capacity(ledger: Ledger, uuid: str) -> int:
    """What our instances may hold on a card together."""
    room = ledger.rooms[uuid]
    if room.is_lost:
        return 0
    return max(room.total_bytes - room.floor_bytes - room.foreign_bytes - ledger.rules.headroom_bytes, 0)


def residue(ledger: Ledger, holding: Holding) -> int:
    """What it leaves on each card asleep: measured on it, else on its like, else assumed."""
    known = holding.residue_bytes
    if known is None:
        known = ledger.residues.get(holding.need.key, ledger.rules.assumed_residue_bytes)
    return min(known, holding.need.awake_bytes)


def charge(ledger: Ledger, holding: Holding, tier: Tier | None = None) -> int:
    """What it holds on each of its cards, in its tier or in another one."""
    tier = tier or holding.tier
    if tier in FULL:
        return holding.need.awake_bytes
    if tier is Tier.ENDING:
        return holding.ending_bytes
    return residue(ledger, holding) if tier is Tier.ASLEEP else 0


def least_charge(ledger: Ledger, holding: Holding) -> int:
    """What it holds at the deepest rung that it has."""
    if holding.need.can_deep:
        return 0
    return residue(ledger, holding) if holding.need.can_sleep else holding.need.awake_bytes


def host_bytes(ledger: Ledger, holding: Holding) -> int:
    """Host memory reserved for as long as it lives: pinned memory is not given back on wake."""
    need, rules = holding.need, ledger.rules
    pinned = 0
    if need.can_sleep:
        pinned = holding.pinned_bytes or ledger.pinned.get(need.key, 0)
        pinned = pinned or round(need.weights_bytes * rules.pinned_factor)
    return rules.tree_bytes + pinned + (residue(ledger, holding) * need.cards if need.can_deep else 0)


def host_used(ledger: Ledger) -> int:
    return sum(host_bytes(ledger, holding) for holding in ledger.holdings.values())


def on_card(ledger: Ledger, uuid: str) -> list[Holding]:
    """Who is on a card, the least recently used first."""
    there = [holding for holding in ledger.holdings.values() if uuid in holding.cards]
    return sorted(there, key=lambda holding: (holding.used_ns, holding.instance_id))


def held(ledger: Ledger, uuid: str) -> int:
    return sum(charge(ledger, holding) for holding in on_card(ledger, uuid))


def overdrawn(ledger: Ledger) -> tuple[str, ...]:
    """What is held beyond what there is, in words; empty while all promises hold."""
    found = [
        f"card {uuid}: {held(ledger, uuid)} bytes are held of {capacity(ledger, uuid)}"
        for uuid in ledger.rooms
        if held(ledger, uuid) > capacity(ledger, uuid)
    ]
    if host_used(ledger) > ledger.ram_bytes:
        found.append(f"host memory: {host_used(ledger)} bytes are reserved of {ledger.ram_bytes}")
    return tuple(found)


# -- admission -------------------------------------------------------------------------------------------


def admit(ledger: Ledger, need: Need, now_ns: int) -> Ledger | Denied:
    """A place for a new instance. Being placed takes no memory yet: starting it does."""
    if need.instance_id in ledger.holdings:
        return Denied(f"instance {need.instance_id} has its cards already")
    holding = Holding(need, (), used_ns=now_ns)
    wanted, left = host_bytes(ledger, holding), ledger.ram_bytes - host_used(ledger)
    if wanted > left:
        return Denied(
            f"an instance of {need.function_name} needs {wanted / GIB:.1f} GB of host memory to sleep in, "
            f"and {max(left, 0) / GIB:.1f} GB of {ledger.ram_bytes / GIB:.1f} GB are not reserved",
            is_final=wanted > ledger.ram_bytes,
        )
    fitting = [uuid for uuid in ledger.rooms if _fits(ledger, uuid, holding)]
    if len(fitting) < need.cards:
        return _no_card(ledger, holding, len(fitting))
    fitting.sort(key=lambda uuid: _reserved(ledger, uuid))  # the emptiest first; stable, so by index
    placed = replace(holding, cards=tuple(fitting[: need.cards]))
    return _put(ledger, placed)


def _fits(ledger: Ledger, uuid: str, new: Holding) -> bool:
    """Whether each one there, the new one too, can be awake while all others are as low as they can be.

    One that is ending is no hindrance to a place, only to a start.
    """
    there = [holding for holding in on_card(ledger, uuid) if holding.tier is not Tier.ENDING]
    if new.need.is_whole and there:
        return False
    if any(other.need.is_whole for other in there):
        return False
    everyone = [*there, new]
    least = sum(least_charge(ledger, holding) for holding in everyone)
    room = capacity(ledger, uuid)
    return all(least - least_charge(ledger, h) + h.need.awake_bytes <= room for h in everyone)


def _reserved(ledger: Ledger, uuid: str) -> int:
    return sum(holding.need.awake_bytes for holding in on_card(ledger, uuid))


def _no_card(ledger: Ledger, holding: Holding, fitting: int) -> Denied:
    need = holding.need
    kind = "whole" if need.is_whole else "shared"
    could = sum(need.awake_bytes <= capacity(ledger, uuid) for uuid in ledger.rooms)
    return Denied(
        f"an instance of {need.function_name} needs {need.cards} {kind} card(s) with "
        f"{need.awake_bytes / GIB:.1f} GB each while it is awake; {fitting} of {len(ledger.rooms)} have that "
        "beside what is reserved on them already",
        is_final=could < need.cards,
    )


# -- changes ---------------------------------------------------------------------------------------------


def _put(ledger: Ledger, *changed: Holding) -> Ledger:
    return replace(ledger, holdings={**ledger.holdings, **{h.instance_id: h for h in changed}})


def moved(ledger: Ledger, instance_id: str, tier: Tier, now_ns: int) -> Ledger | Denied:
    """It is to be in another tier; denied if its cards cannot carry that now."""
    holding = ledger.holdings[instance_id]
    if tier in FULL or tier is Tier.ASLEEP:
        more = charge(ledger, holding, tier) - charge(ledger, holding)
        for uuid in holding.cards:
            left = capacity(ledger, uuid) - held(ledger, uuid)
            if more > max(left, 0):
                return Denied(
                    f"instance {instance_id} needs {more / GIB:.1f} GB more on card {uuid} to be "
                    f"{tier.value}, and {left / GIB:.1f} GB are left",
                    is_final=False,
                )
    since = now_ns if tier is Tier.AWAKE and holding.tier is not Tier.AWAKE else holding.awake_ns
    return _put(ledger, replace(holding, tier=tier, awake_ns=since))


def marked(ledger: Ledger, instance_ids: Iterable[str], *, is_moving: bool) -> Ledger:
    """They are part of a swap now, or no more."""
    there = (ledger.holdings[i] for i in instance_ids if i in ledger.holdings)
    return _put(ledger, *(replace(holding, is_moving=is_moving) for holding in there))


def counted(ledger: Ledger, instance_id: str, in_flight: int, used_ns: int) -> Ledger:
    """How many requests it has at the door, and when it had its last one."""
    holding = ledger.holdings[instance_id]
    return _put(ledger, replace(holding, in_flight=in_flight, used_ns=used_ns))


def taken_over(ledger: Ledger, need: Need, cards: Iterable[str], tier: Tier, now_ns: int) -> Ledger:
    """What a former host placed is where it is, whether it fits or not."""
    there = tuple(uuid for uuid in cards if uuid in ledger.rooms)
    return _put(ledger, Holding(need, there, tier, used_ns=now_ns, awake_ns=now_ns))


def revised(
    ledger: Ledger,
    instance_id: str,
    *,
    awake_bytes: int = 0,
    can_sleep: bool | None = None,
    can_deep: bool | None = None,
) -> Ledger:
    """What it turned out to be: more memory awake than was asked for (never less), or less able."""
    holding = ledger.holdings[instance_id]
    need = holding.need
    sleeps = need.can_sleep if can_sleep is None else can_sleep
    deep = (need.can_deep if can_deep is None else can_deep) and sleeps
    seen = max(need.awake_bytes, awake_bytes)
    return _put(
        ledger, replace(holding, need=replace(need, awake_bytes=seen, can_sleep=sleeps, can_deep=deep))
    )


def ending(ledger: Ledger, instance_id: str) -> Ledger:
    """Its process was killed. What it may hold stays counted until a reading shows the card free of it."""
    holding = ledger.holdings[instance_id]
    held_now = charge(ledger, holding)
    gone = replace(holding, tier=Tier.ENDING, in_flight=0, is_moving=False, ending_bytes=held_now)
    return _put(ledger, gone)


def removed(ledger: Ledger, instance_id: str) -> Ledger:
    """It never had a process."""
    return replace(ledger, holdings={i: h for i, h in ledger.holdings.items() if i != instance_id})


def observed(ledger: Ledger, uuid: str, used_bytes: int, foreign_bytes: int) -> Ledger:
    """A reading of a card: those that were ending and are off all their cards are forgotten."""
    room = replace(ledger.rooms[uuid], foreign_bytes=foreign_bytes, is_lost=False)
    ledger = replace(ledger, rooms={**ledger.rooms, uuid: room})
    there = on_card(ledger, uuid)
    staying = sum(charge(ledger, h) for h in there if h.tier is not Tier.ENDING)
    slack = ledger.rules.headroom_bytes
    if used_bytes > room.floor_bytes + foreign_bytes + staying + slack:
        return ledger
    gone = [replace(h, cards=tuple(c for c in h.cards if c != uuid)) for h in there if h.tier is Tier.ENDING]
    ledger = _put(ledger, *gone)
    for holding in gone:
        if not holding.cards:
            ledger = removed(ledger, holding.instance_id)
    return ledger


def lost(ledger: Ledger, uuid: str) -> Ledger:
    """The card fell off the bus: it has room for nobody."""
    return replace(ledger, rooms={**ledger.rooms, uuid: replace(ledger.rooms[uuid], is_lost=True)})


# -- what was measured -----------------------------------------------------------------------------------


def slept(ledger: Ledger, instance_id: str, residue_bytes: int, pinned_bytes: int | None) -> Ledger:
    """What a sleep has left on its fullest card and pinned in host memory, by a reading made after it."""
    holding = ledger.holdings[instance_id]
    key = holding.need.key
    ledger = replace(ledger, residues={**ledger.residues, key: residue_bytes})
    if pinned_bytes:
        ledger = replace(ledger, pinned={**ledger.pinned, key: pinned_bytes})
    measured = replace(
        holding, residue_bytes=residue_bytes, pinned_bytes=pinned_bytes or holding.pinned_bytes
    )
    return _put(ledger, measured)


def has_grown(ledger: Ledger, instance_id: str, residue_bytes: int) -> str | None:
    """Whether a sleep left clearly more than the one before: the engine leaks, a deeper rung is due."""
    holding = ledger.holdings[instance_id]
    former = holding.residue_bytes
    if former is None:
        former = ledger.residues.get(holding.need.key)
    if former is None or residue_bytes <= former * ledger.rules.growth_factor + ledger.rules.growth_bytes:
        return None
    return (
        f"instance {instance_id} left {residue_bytes / MIB:.0f} MB on its card asleep, "
        f"{former / MIB:.0f} MB the time before: checkpoint it, or replace it"
    )

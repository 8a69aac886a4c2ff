"""What the cards of this machine can stand for among FC's GPU types.

Owns: the mapping of a card to the catalogue, the floor of an empty card, and the words for what is missing.
Promises: pure functions of readings. Never: reads a card, reserves anything (`ledger` does).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tickover.fc.gpu import CATALOGUE, GpuType
from tickover.host.gpu.nvml import GIB, MIB, Card, NoCards, Reading

# A card sold with 16, 24 or 48 GB of GDDR memory shows 15/16 of it with ECC on, less a little for the driver.
LEAST_SHARE: Final = 0.92
NO_GPU_HINT: Final = (
    "Functions with gpuConfig need a machine with an NVIDIA card and its driver; "
    "without gpuConfig they are served on the processor."
)


@dataclass(frozen=True, slots=True)
class Floor:
    """What a card reads with nobody on it. is_exact: it was empty when it was read."""

    used_bytes: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A card that functions can be put on. gpu_types: what it can stand for, the largest first."""

    card: Card
    floor: Floor
    gpu_types: tuple[str, ...]

    @property
    def capacity_bytes(self) -> int:
        return max(self.card.total_bytes - self.floor.used_bytes, 0)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The places of a machine; why there is none, if there is none."""

    places: tuple[Place, ...]
    reason: str = ""


def take(found: Iterable[Reading] | NoCards) -> Inventory:
    """The inventory of readings made at start."""
    if isinstance(found, NoCards):
        return Inventory((), found.reason)
    ordered = sorted(found, key=lambda reading: reading.card.index)
    return Inventory(tuple(Place(r.card, calibrate(r), stands_for(r.card)) for r in ordered))


def calibrate(reading: Reading) -> Floor:
    """The floor of a card. Where processes are on it already, what they do not account for.

    A process that does not tell its share leaves the floor unknown: then only what the others hold is taken
    off, which makes the floor too high and the card too small, never the other way round.
    """
    known = sum(process.used_bytes or 0 for process in reading.processes)
    return Floor(max(reading.used_bytes - known, 0), not reading.processes)


def is_enough(card: Card, kind: GpuType) -> bool:
    return card.total_bytes >= kind.vram_mb * MIB * LEAST_SHARE


def stands_for(card: Card) -> tuple[str, ...]:
    """The types of the catalogue whose memory a card has, those with the most memory first."""
    fitting = [kind for kind in CATALOGUE.values() if is_enough(card, kind)]
    return tuple(kind.name for kind in sorted(fitting, key=lambda kind: (-kind.vram_gb, kind.name)))


def shortfall(inventory: Inventory, gpu_type: str, gpu_memory_mb: int) -> str | None:
    """Why this machine can never hold such a function; None if it can (others may be in its way now)."""
    asked = f"{gpu_memory_mb} MB of {gpu_type}"
    kind = CATALOGUE.get(gpu_type)
    cards = kind.cards(gpu_memory_mb) if kind else None
    if kind is None or cards is None:
        return f"{asked} is not a whole number of cards of a known type"
    if not inventory.places:
        return f"{asked} cannot be had: this machine has no GPU ({inventory.reason or 'none was found'})"
    fitting = [place for place in inventory.places if gpu_type in place.gpu_types]
    if len(fitting) >= cards:
        return None
    largest = max(place.card.total_bytes for place in inventory.places)
    return (
        f"{asked} needs {_counted(cards)} with {kind.vram_gb} GB each; this machine has "
        f"{_counted(len(fitting))} of that size ({_counted(len(inventory.places))} in all, "
        f"the largest with {largest / GIB:.0f} GB)"
    )


def describe(inventory: Inventory) -> tuple[str, ...]:
    """Lines for `host status` and the log."""
    if not inventory.places:
        return (f"no GPU: {inventory.reason or 'none was found'}", NO_GPU_HINT)
    return tuple(_line(place) for place in inventory.places)


def _line(place: Place) -> str:
    card, floor = place.card, place.floor
    stands = f"stands for {place.gpu_types[0]} and smaller" if place.gpu_types else "smaller than any FC type"
    exact = "" if floor.is_exact else " (estimated: processes were on it)"
    return (
        f"GPU {card.index}: {card.name}, {card.total_bytes / GIB:.0f} GB, "
        f"empty at {floor.used_bytes / MIB:.0f} MB{exact}, {stands}"
    )


def _counted(cards: int) -> str:
    return f"{cards} card" if cards == 1 else f"{cards} cards"

"""Readings of the cards, made beside the event loop.

Owns: the way to a card's reading, and what an instance has on its cards by it. Promises: a card that cannot
be read is an answer (None), logged, and told as lost if it is. Never: keeps a reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

import structlog

from tickover.host.gpu.inventory import Inventory
from tickover.host.gpu.nvml import Card, Cards, CardsFailed, Reading, read
from tickover.host.gpu.sequence import choose

log = structlog.get_logger(__name__)


class Readings:
    """The cards of an inventory. members: the processes of an instance; lost: told which card is no more;
    seen: told what is in use on one."""

    def __init__(
        self,
        cards: Cards,
        inventory: Inventory,
        members: Callable[[str], Collection[int]],
        lost: Callable[[str], None],
        seen: Callable[[str, int], None] = lambda uuid, used_bytes: None,
    ) -> None:
        self._cards = cards
        self._known: dict[str, Card] = {place.card.uuid: place.card for place in inventory.places}
        self._members = members
        self._lost = lost
        self._seen = seen
        self._ours: set[int] = set()  # processes that were seen to be of our instances

    async def of(self, uuid: str) -> Reading | None:
        """A card now."""
        try:
            found = await asyncio.to_thread(read, self._cards, self._known[uuid])
        except CardsFailed as error:
            log.error("a card cannot be read", card=uuid, reason=error.reason)
            if error.is_lost:
                self._lost(uuid)
            return None
        self._seen(uuid, found.used_bytes)
        return found

    async def used(self, instance_id: str, cards: Collection[str]) -> int | None:
        """What an instance has on its fullest card, bytes; None if that cannot be told."""
        members = set(self._members(instance_id))
        found: list[int] = []
        for uuid in cards:
            reading = await self.of(uuid)
            used = reading.used_by(members) if reading is not None else None
            if used is None:
                return None
            found.append(used)
        return max(found, default=0)

    async def computing(self, instance_id: str, cards: Collection[str]) -> tuple[int, ...] | None:
        """The processes of an instance that the driver can checkpoint; None if a card cannot be read."""
        members = set(self._members(instance_id))
        found: set[int] = set()
        for uuid in cards:
            reading = await self.of(uuid)
            if reading is None:
                return None
            found.update(choose(reading.processes, members))
        return tuple(sorted(found))

    def foreign(self, reading: Reading, floor_bytes: int, instance_ids: Iterable[str]) -> int:
        """What processes that are of none of these have on a card, bytes."""
        listed = {process.pid for process in reading.processes}
        if not listed <= self._ours:  # finding out whose a process is takes a walk through all of them
            self._ours = listed & set[int]().union(*(self._members(name) for name in instance_ids))
        return reading.foreign_bytes(self._ours, floor_bytes)

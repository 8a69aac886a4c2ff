"""What the machine says meanwhile: the card's memory, an instance's processes, free host memory.

Owns: the readings of a run. Promises: a machine without a card is an answer (None), so that the whole flow
can be rehearsed without one. Never: changes anything.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from tickover.host.gpu.nvml import MIB, Card, Cards, NoCards, open_cards
from tickover.host.runtimes import procfs


class Watch:
    """The first card of this machine, or of a simulated one."""

    def __init__(self, cards: Cards | None = None) -> None:
        found = cards or open_cards()
        self._cards: Cards | None = None if isinstance(found, NoCards) else found
        self._card: Card | None = self._cards.cards()[0] if self._cards else None

    @property
    def machine(self) -> str:
        card = "no GPU" if self._card is None else f"{self._card.name}, {self._card.total_bytes // MIB} MiB"
        return f"{card}; {os.cpu_count()} cores, {_meminfo('MemTotal') // 1024} MiB"

    def card_mib(self) -> int | None:
        """What is used on the whole card."""
        if self._cards is None or self._card is None:
            return None
        return self._cards.used_bytes(self._card.uuid) // MIB

    def computing(self) -> dict[int, int | None] | None:
        """The processes that NVML sees on the card, and what each has there, MiB."""
        if self._cards is None or self._card is None:
            return None
        found = self._cards.processes(self._card.uuid)
        return {p.pid: None if p.used_bytes is None else p.used_bytes // MIB for p in found}


def members(instance_id: str, pid: int | None) -> tuple[int, ...]:
    """The processes of an instance."""
    identity = procfs.identify(pid) if pid else None
    if identity is None:
        return ()
    return tuple(sorted(stat.pid for stat in procfs.members(identity, instance_id)))


def rss_mib(pids: Collection[int]) -> float:
    """Resident memory of processes together; what they share is counted for each."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:  # it has just ended
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def available_mib() -> int:
    """Host memory that could be had."""
    return _meminfo("MemAvailable") // 1024


def _meminfo(name: str) -> int:
    """A line of /proc/meminfo, KiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)

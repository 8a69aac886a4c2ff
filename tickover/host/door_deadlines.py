"""Timeouts of requests, a tenth of a second exact.

Owns: who has to be told when. Promises: nobody is told too early, or more than a tenth of a second late while
the loop runs; adding and discarding cost no timer of the loop each. Never: decides how long.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

PER_SECOND: Final = 10


class Timed(Protocol):
    """Who can run out of time."""

    def time_is_up(self, seconds: int) -> None: ...


class Deadlines:
    """Everybody with a deadline, by the tenth of a second in which it falls."""

    def __init__(self) -> None:
        self._slots: dict[int, dict[Timed, int]] = {}
        self._slot_of: dict[Timed, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def add(self, who: Timed, seconds: int) -> None:
        """Tell who in so many seconds, unless it is discarded before."""
        loop = asyncio.get_running_loop()
        slot = int((loop.time() + seconds) * PER_SECOND) + 1
        self._slot_of[who] = slot
        there = self._slots.get(slot)
        if there is None:
            self._slots[slot] = {who: seconds}
        else:
            there[who] = seconds
        if self._timer is None or slot < self._armed_for:
            self._arm(loop, slot)

    def discard(self, who: Timed) -> None:
        slot = self._slot_of.pop(who, None)
        if slot is not None:
            there = self._slots.get(slot)
            if there is not None:  # else it is being rung
                del there[who]
                if not there:
                    del self._slots[slot]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop, slot: int) -> None:
        self.close()
        self._armed_for = slot
        self._timer = loop.call_at(slot / PER_SECOND, self._ring)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now = int(loop.time() * PER_SECOND)
        for slot in sorted(slot for slot in self._slots if slot <= now):
            for who, seconds in self._slots.pop(slot).items():
                # One that is told may discard another of the same slot.
                if self._slot_of.pop(who, None) is not None:
                    who.time_is_up(seconds)
        if self._slots and self._timer is None:
            self._arm(loop, min(self._slots))

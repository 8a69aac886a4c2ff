"""Time, as the host reads it.

Owns: the two clocks and the sleep of the host. Promises: `mono_ns` never goes back and counts while the
machine is suspended; a test can put its own clock in. Never: used by code that decides (it is given `now`).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Protocol

SECOND_NS = 1_000_000_000


class Clock(Protocol):
    """Wall time for people and schedules, monotonic time for durations."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch."""
        ...

    def mono_ns(self) -> int:
        """Nanoseconds since the machine booted, suspended time included."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def mono_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def seconds_ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def boot_id() -> str:
    """Changes with every boot of the machine: monotonic times and process ids of another one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


async def sleep_unless(clock: Clock, seconds: float, kicked: asyncio.Event) -> bool:
    """Sleep until the event is set, or for so long: whether that time has passed."""
    timer = asyncio.ensure_future(clock.sleep(seconds))
    kick = asyncio.ensure_future(kicked.wait())
    try:
        done, _ = await asyncio.wait({timer, kick}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        kick.cancel()
    return timer in done

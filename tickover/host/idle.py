"""Suspending and waking one instance: the idle ladder.

Owns: the steps of an instance's way into idleness and back, in their order: the model server sleeps (its
GPU memory is given up), then the processor is taken; back in reverse. Promises: `suspend` leaves the instance
idle or running, never between; a server that has work by its own count is left alone; `wake` ends within its
deadline and does not trust a health check where the server has slept. Never: decides when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

from tickover.host import modelserver
from tickover.host.instance import SLEEPING
from tickover.host.model import Deepest
from tickover.host.modelserver import ServerRefused
from tickover.host.runtimes.base import Condition, Runtime, RuntimeFailed
from tickover.host.warmup import HealthRule, until_healthy, warm_up

# The first sleep pins host memory for all weights: 13 s for 16 GiB were seen, minutes are thinkable.
FIRST_SLEEP_SECONDS: Final = 600.0
SLEEP_SECONDS: Final = 60.0
# A server's own count lags behind what it has sent: as long as a metric takes to be written.
SETTLE_SECONDS: Final = 0.5
_SETTLE_PAUSE_SECONDS: Final = 0.05


# Measures one step of the ladder: (rung, "down" or "up").
Steps = Callable[[Deepest, str], AbstractContextManager[None]]


def no_steps(rung: Deepest, direction: str) -> AbstractContextManager[None]:
    """Measures nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Place:
    """An instance, and how it is reached. level: of its server's sleep."""

    runtime: Runtime
    ref: str
    port: int
    level: int = modelserver.LEVEL
    step: Steps = no_steps

    @property
    def address(self) -> tuple[str, int]:
        return self.runtime.host, self.port


@dataclass(frozen=True, slots=True)
class Suspended:
    """How far down it went; trouble: why not further, empty if nothing failed."""

    reached: Deepest
    trouble: str = ""


async def first_sleep(place: Place, seconds: float) -> tuple[bool, str | None]:
    """One sleep and wake of a server that was just warmed up, off anybody's request: whether it can sleep,
    and what is wrong with it now, if anything.

    What the first sleep costs once (pinning host memory) is paid here, and a server that cannot is known.
    """
    host, port = place.address
    try:
        if await modelserver.is_sleeping(host, port) is None:
            return False, None
        await modelserver.sleep(host, port, min(seconds, FIRST_SLEEP_SECONDS), place.level)
    except ServerRefused as error:
        return False, await _still_serves(place, seconds, str(error))
    trouble = await _wake_server(place, seconds)
    return trouble is None, trouble


async def rouse(place: Place, seconds: float) -> str | None:
    """Wake the server if it sleeps. None, or why it does not serve."""
    try:
        if await modelserver.is_sleeping(*place.address, seconds):
            return await _wake_server(place, seconds)
    except ServerRefused as error:
        return str(error)
    return None


async def suspend(place: Place, deepest: Deepest) -> Suspended:
    """Go down as far as it can and may. Raises RuntimeFailed if it is gone, or is no good any more."""
    if deepest is Deepest.NONE:
        return Suspended(Deepest.NONE)
    trouble = ""
    has_slept = False
    if deepest in SLEEPING:
        has_slept, trouble = await _sleep(place)
        if trouble and not has_slept and await _has_work(place):
            return Suspended(Deepest.NONE, trouble)
    try:
        with place.step(Deepest.FREEZE, "down"):
            await place.runtime.freeze(place.ref)
    except RuntimeFailed as error:
        if place.runtime.condition(place.ref) is not Condition.RUNNING:
            raise
        if has_slept and (broken := await _wake_server(place, SLEEP_SECONDS)) is not None:
            raise RuntimeFailed(f"it could not be frozen, and then not be woken: {broken}") from error
        return Suspended(Deepest.NONE, error.reason)
    return Suspended(Deepest.SLEEP if has_slept else Deepest.FREEZE, trouble)


async def wake(place: Place, rule: HealthRule, seconds: float, may_sleep: bool) -> str | None:
    """Thaw it, wake its server, and see that it answers: None, or why it does not.

    may_sleep: the server knows how to sleep, or nobody knows whether it does (it was taken over).
    """
    try:
        async with asyncio.timeout(seconds):
            try:
                with place.step(Deepest.FREEZE, "up"):
                    await place.runtime.thaw(place.ref)
            except RuntimeFailed as error:
                return error.reason
            if may_sleep and (trouble := await rouse(place, seconds)) is not None:
                return trouble
            host, port = place.address
            now = replace(rule, delay_seconds=0, successes=1)
            return await until_healthy(host, port, now, seconds)
    except TimeoutError:
        return f"it did not wake within {seconds:g} s"


async def _sleep(place: Place) -> tuple[bool, str]:
    """Whether its server sleeps now, and why not if it could."""
    host, port = place.address
    try:
        if await modelserver.is_sleeping(host, port) is None:
            return False, ""
        if not await _settled(place):
            return False, "its server says that it still has requests"
        with place.step(Deepest.SLEEP, "down"):
            await modelserver.sleep(host, port, SLEEP_SECONDS, place.level)
    except ServerRefused as error:
        broken = await _still_serves(place, SLEEP_SECONDS, str(error))
        if broken is not None:
            raise RuntimeFailed(broken) from error
        return False, str(error)
    return True, ""


async def _settled(place: Place) -> bool:
    """Whether its server has nothing to do, by its own count."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_SECONDS
    while await modelserver.work(*place.address):
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_SETTLE_PAUSE_SECONDS)
    return True


async def _has_work(place: Place) -> bool:
    """Whether its server says so; one that does not tell has none: nothing is in flight at the door."""
    try:
        return await modelserver.work(*place.address) > 0
    except ServerRefused:
        return False


async def _still_serves(place: Place, seconds: float, trouble: str) -> str | None:
    """After a sleep that failed: None if the server serves as before, else what is wrong with it."""
    try:
        if not await modelserver.is_sleeping(*place.address):
            return None
    except ServerRefused as error:
        return f"{trouble}; then {error}"
    return await _wake_server(place, seconds)  # it sleeps, though it said that it could not


async def _wake_server(place: Place, seconds: float) -> str | None:
    """Wake the server and draw one token: a health check passes asleep as well. None, or what is wrong."""
    host, port = place.address
    try:
        with place.step(Deepest.SLEEP, "up"):
            await modelserver.wake_up(host, port, seconds, place.level)
    except ServerRefused as error:
        return str(error)
    return await warm_up(host, port, seconds)

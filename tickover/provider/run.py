"""One provider call at work: FC calls with their errors explained, and waiting with progress.

Owns: repeating calls whose trouble passes, and the wait loop with its deadline. Promises: progress lines
are ephemeral, a wait ends at the deadline or on cancel, time comes from outside. Never: knows a resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tickover.engine.provider import ProviderLog, Severity
from tickover.fc.client import Unreachable
from tickover.fc.errors import FcError
from tickover.provider.config import START_HINT
from tickover.provider.faults import is_passing

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0
ATTEMPTS = 6


class Api(Protocol):
    """What a handler needs of the FC client."""

    async def call(
        self, operation: str, *path: str, body: Mapping[str, Any] | None = None, **query: Any
    ) -> dict[str, Any]: ...


class Clock(Protocol):
    """Monotonic seconds and a way to let them pass."""

    def now(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class RealClock:
    """The event loop's clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class NotReady(Exception):
    """The object is there and did not become what was asked. answer: how the API last described it."""

    def __init__(self, reason: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = dict(answer or {})


@dataclass(frozen=True, slots=True)
class Poll:
    """One look at an object. line: what to show while waiting. failed: why it will never be done."""

    done: bool
    answer: Mapping[str, Any]
    line: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """What a handler may use while it serves one request. target: host or cloud."""

    api: Api
    log: ProviderLog
    urn: str
    target: str
    clock: Clock
    deadline: float
    cancelled: asyncio.Event = field(repr=False)

    def say(self, message: str, *, severity: Severity = Severity.INFO, ephemeral: bool = True) -> None:
        """A line about this resource; progress unless said otherwise."""
        self.log(severity, self.urn, message, ephemeral=ephemeral)

    async def call(
        self, operation: str, *path: str, body: Mapping[str, Any] | None = None, **query: Any
    ) -> dict[str, Any]:
        """An FC call, repeated while its trouble is of the kind that passes. Raises FcError, Unreachable."""
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self.api.call(operation, *path, body=body, **query)
            except FcError as error:
                if not is_passing(error) or attempt == ATTEMPTS or self.cancelled.is_set():
                    raise
                self.say(f"{error.code}, trying again")
                await self.clock.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        raise AssertionError("the last attempt returns or raises. This is a bug in tickover.")

    async def until(self, look: Callable[[], Awaitable[Poll]]) -> dict[str, Any]:
        """The answer once a look says done. Raises NotReady: failed, cancelled, or out of time."""
        pause, shown, started = FIRST_PAUSE_SECONDS, "", self.clock.now()
        while True:
            poll = await look()
            if poll.done:
                return dict(poll.answer)
            if poll.failed:
                raise NotReady(poll.failed, poll.answer)
            if self.cancelled.is_set():
                raise NotReady(f"Waiting was cancelled: {poll.line}.", poll.answer)
            if self.clock.now() >= self.deadline:
                waited = round(self.clock.now() - started)
                raise NotReady(f"Not ready after {waited} s: {poll.line}.", poll.answer)
            if poll.line != shown:
                shown = poll.line
                self.say(shown)
            await self.clock.sleep(min(pause, max(self.deadline - self.clock.now(), 0.0)))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def reason_of(error: Exception) -> str:
    """A foreign error as the reason in an init error."""
    match error:
        case FcError():
            return f"{error.code}: {error.message}"
        case Unreachable():
            help_ = f"\n    {START_HINT}" if "://127.0.0.1:" in error.endpoint else ""
            return f"{error.endpoint} stopped answering: {error.reason}{help_}"
        case _:
            return str(error)

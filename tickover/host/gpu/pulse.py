"""Something has changed: for those who wait for any change and then look for themselves.

Owns: one future. Promises: a beat wakes all who wait; one that nobody waits for costs nothing. Never: says
what has changed.
"""

from __future__ import annotations

import asyncio


class Pulse:
    """For the tasks of one event loop."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def beat(self) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(None)

    async def next(self, seconds: float) -> None:
        """Until the next beat, or for so long."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._next}, timeout=max(seconds, 0.0))

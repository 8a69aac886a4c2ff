"""What the GPU side asks of those who own the instances.

Owns: the protocol. Promises: nothing here changes an instance's state behind its owner's back. Never: does
anything itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Neighbours(Protocol):
    """What the keeper asks of those who own the instances. An id of one that is gone is no error."""

    def load(self, instance_id: str) -> tuple[int, int] | None:
        """Requests in flight, and the monotonic ns of the last one; None if it is gone."""
        ...

    def members(self, instance_id: str) -> Collection[int]:
        """The ids of its processes."""
        ...

    def hold(self, instance_id: str, is_held: bool) -> None:
        """No new request goes to it, or they may again: those that come wait."""
        ...

    async def sleep(self, instance_id: str) -> None:
        """Have it go idle; returns when it has, or will not."""
        ...

    async def is_asleep(self, instance_id: str) -> bool:
        """Whether its engine says so, now."""
        ...

    async def thaw(self, instance_id: str) -> str | None:
        """Let its processes run; returns when they do. None, or why not."""
        ...

    async def freeze(self, instance_id: str) -> None: ...

    def sunk(self, instance_id: str, pids: tuple[int, ...], *, is_deep: bool) -> None:
        """Keep in mind what the driver may have taken; no pids: nothing of it any more."""
        ...

    def condemn(self, instance_id: str, reason: str) -> None:
        """It has to be replaced."""
        ...

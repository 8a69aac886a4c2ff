"""What a caller's connection and the door know of each other, whichever version of HTTP is spoken on it.

Owns: the two interfaces. Promises: nothing but types. Never: acts.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from tickover.host.door_context import DoorContext


class Visitor(Protocol):
    """A caller's connection, as the door sees it."""

    def sweep(self, quiet_before: float, seconds: float) -> None:
        """Close what is idle or slow; seconds have passed since the last sweep."""
        ...

    def close_if_quiet(self, before: float) -> None:
        """Close when no request has been open since the given loop time."""
        ...

    def detach(self) -> int | None:
        """A descriptor for another process to go on with, if there can be one now."""
        ...

    def retire(self) -> None:
        """Let the caller go elsewhere with its next request; what is open is finished."""
        ...

    def abort(self) -> None: ...


class Home(Protocol):
    """The door that a connection came through."""

    @property
    def context(self) -> DoorContext: ...
    @property
    def is_closing(self) -> bool: ...
    def now(self) -> float: ...
    def joined(self, connection: Visitor) -> None: ...
    def left(self, connection: Visitor) -> None: ...
    def rested(self, connection: Visitor) -> None: ...

    def take_h2(self, transport: asyncio.Transport, data: bytes, *, is_tls: bool) -> asyncio.Protocol:
        """Go on in HTTP/2 on a connection; data: what the caller has sent on it so far."""
        ...

"""How much of what serves no request a caller may send on a connection of HTTP/2.

Owns: one connection's account. Promises: a caller that takes its answers never runs out; one that only keeps
the host busy (streams opened and reset, pings, settings, empty frames) does, at a known rate. Never: I/O,
reads a clock.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 512.0  # so many at once
PER_SECOND: Final = 32.0
FOR_AN_ANSWER: Final = 1.0  # earned by each answer that was sent whole
OF_A_LATE_FRAME: Final = 0.1  # costs one for a stream that is over: some may be on their way when it ends
FOR_A_FRAME: Final = (
    2.0  # earned by each frame of an answer: it may be acknowledged for stream and connection
)


class Patience:
    """What is left of it."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST

    def earn(self, amount: float) -> None:
        self.left = min(MOST, self.left + amount)

    def rest(self, seconds: float) -> None:
        """Some time has passed."""
        self.earn(seconds * PER_SECOND)

    def spend(self, amount: float = 1.0) -> None:
        self.left -= amount

    @property
    def is_gone(self) -> bool:
        return self.left < 0

"""The ledger as it is now.

Owns: the one place that holds the present ledger of a host. Promises: a change that the ledger denies
changes nothing and is a `StepFailed`; what is held beyond what there is is told in the log. Never: waits.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from tickover.host.gpu.ledger import Denied, Ledger, counted, overdrawn
from tickover.host.gpu.neighbours import Neighbours
from tickover.host.gpu.steps import StepFailed
from tickover.host.gpu.swaps import Action

log = structlog.get_logger(__name__)


class Book:
    """For the tasks of one event loop. now_ns: monotonic."""

    def __init__(self, ledger: Ledger, now_ns: Callable[[], int]) -> None:
        self.ledger = ledger
        self._now_ns = now_ns

    def holds(self, instance_id: str) -> bool:
        return instance_id in self.ledger.holdings

    def apply(self, found: Ledger | Denied) -> None:
        """Raises StepFailed."""
        if isinstance(found, Denied):
            raise StepFailed(found.reason)
        self.ledger = found

    def may(self, change: Callable[[Ledger, Action, int], Ledger | Denied], action: Action) -> None:
        """A step begins or is done. Raises StepFailed."""
        name = getattr(action, "instance_id", None)
        if name is not None and not self.holds(name):
            raise StepFailed(f"instance {name} is gone")
        self.apply(change(self.ledger, action, self._now_ns()))

    def count(self, neighbours: Neighbours) -> None:
        """What each has at the door now."""
        for name in self.ledger.holdings:
            if (load := neighbours.load(name)) is not None:
                self.ledger = counted(self.ledger, name, *load)

    def tell_overdrawn(self) -> None:
        for line in overdrawn(self.ledger):
            log.error("more is held than there is", what=line)

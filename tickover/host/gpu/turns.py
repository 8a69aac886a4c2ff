"""Whose turn it is: waiting for a plan that can begin.

Owns: who is held from newcomers so that another one gets its turn. Promises: a plan that is returned has
begun; whoever is held is let go by `release`. Never: does a step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tickover.host.clock import SECOND_NS
from tickover.host.gpu.book import Book
from tickover.host.gpu.ledger import Denied
from tickover.host.gpu.neighbours import Neighbours
from tickover.host.gpu.pulse import Pulse
from tickover.host.gpu.swaps import SwapPlan, Wait, in_the_way, opened, plan_wake


class Turns:
    """look: reads all cards anew."""

    def __init__(
        self,
        book: Book,
        neighbours: Neighbours,
        pulse: Pulse,
        look: Callable[[], Awaitable[None]],
        now_ns: Callable[[], int],
    ) -> None:
        self._book = book
        self._neighbours = neighbours
        self._pulse = pulse
        self._look = look
        self._now_ns = now_ns
        self._held: dict[str, tuple[str, ...]] = {}  # by whom they are held from newcomers

    async def plan(self, instance_id: str, deadline_ns: int) -> SwapPlan | Denied:
        """A plan that has begun, or why there is none by then."""
        rules, began = self._book.ledger.rules, self._now_ns()
        while True:
            found = await self._try_plan(instance_id, deadline_ns)
            if not isinstance(found, Wait):
                return found
            now = self._now_ns()
            is_patient = now - began < rules.patience_ns
            may_hold = not is_patient and now - began < rules.patience_ns + rules.hold_ns
            self._hold(instance_id, in_the_way(self._book.ledger, instance_id) if may_hold else ())
            turn = began + rules.patience_ns + (0 if is_patient else rules.hold_ns)
            times = [deadline_ns, found.until_ns or deadline_ns, turn if turn > now else deadline_ns]
            await self._pulse.next((min(times) - now) / SECOND_NS)

    async def _try_plan(self, instance_id: str, deadline_ns: int) -> SwapPlan | Wait | Denied:
        found = self._opened(instance_id)
        if isinstance(found, Denied):  # others may have left the card since
            await self._look()
            found = self._opened(instance_id)
        if isinstance(found, Wait) and self._now_ns() >= deadline_ns:
            return Denied(found.reason, is_final=False)
        return found

    def _opened(self, instance_id: str) -> SwapPlan | Wait | Denied:
        self._book.count(self._neighbours)
        found = plan_wake(self._book.ledger, instance_id, self._now_ns())
        if not isinstance(found, SwapPlan):
            return found
        ledger = opened(self._book.ledger, found)
        if isinstance(ledger, Denied):
            return Wait(ledger.reason)
        self._book.ledger = ledger
        return found

    def release(self, instance_id: str) -> None:
        """It is up, or has given up: who was held for it has newcomers again."""
        self._hold(instance_id, ())

    def _hold(self, instance_id: str, wanted: tuple[str, ...]) -> None:
        """Newcomers wait at the door of who never has a moment without a request, until this one is up."""
        former = self._held.pop(instance_id, ())
        if wanted:
            self._held[instance_id] = wanted
        for name in {*former, *wanted}:
            if (name in former) != (name in wanted):
                self._neighbours.hold(name, name in wanted)

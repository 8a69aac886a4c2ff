"""The one owner of a host's cards: who may start, wake or sink on them, one swap at a time on each.

Owns: the ledger, and the tasks that carry its plans out. Promises: no process starts or wakes on a card
before the ledger has its memory and a reading has shown it free; the ledger changes on the event loop's
thread only, with no await in between; a host without a card has no keeper. Never: changes the state of an
instance: it asks (`Neighbours`) and waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import structlog

from tickover.host.clock import SECOND_NS
from tickover.host.gpu.book import Book
from tickover.host.gpu.checkpoint import Checkpointer
from tickover.host.gpu.deep import Deep
from tickover.host.gpu.inventory import Inventory
from tickover.host.gpu.ledger import (
    Denied,
    Ledger,
    Need,
    Rules,
    Tier,
    admit,
    ending,
    has_grown,
    lost,
    marked,
    moved,
    observed,
    on_card,
    open_ledger,
    removed,
    revised,
    slept,
    taken_over,
)
from tickover.host.gpu.neighbours import Neighbours
from tickover.host.gpu.nvml import MIB, Cards
from tickover.host.gpu.pulse import Pulse
from tickover.host.gpu.readings import Readings
from tickover.host.gpu.steps import StepFailed, carry_out
from tickover.host.gpu.swaps import (
    Action,
    Checkpoint,
    Confirm,
    FirstToken,
    Restore,
    Sleep,
    Start,
    SwapPlan,
    Wake,
    begins,
    broken,
    closed,
    done,
    is_confirmed,
)
from tickover.host.gpu.turns import Turns
from tickover.host.idle import Steps, no_steps

log = structlog.get_logger(__name__)

CONFIRM_SECONDS: Final = 10.0  # a killed engine's memory came back within 4.6 s
CONFIRM_PAUSE_SECONDS: Final = 0.02
FIRST_TOKEN_SECONDS: Final = 1.0  # what is evicted is checkpointed after that, answered or not
TRY_AGAIN_SECONDS: Final = 0.2
LOOK_SECONDS: Final = 5.0
LOOK_CLOSELY_SECONDS: Final = 0.25

Up = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of a start or wake. trouble: None if it is up. is_put_off: the instance is as it was."""

    trouble: str | None = None
    is_put_off: bool = False


class Keeper:
    """The cards of one host. now_ns: monotonic. seen: told what is in use on a card, at each look;
    step: measures checkpoints and restores."""

    def __init__(
        self,
        cards: Cards,
        inventory: Inventory,
        ram_bytes: int,
        neighbours: Neighbours,
        checkpointer: Checkpointer | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        rules: Rules | None = None,
        seen: Callable[[str, int], None] = lambda uuid, used_bytes: None,
        step: Steps = no_steps,
    ) -> None:
        self.inventory = inventory
        self._book = Book(open_ledger(inventory, ram_bytes, rules), now_ns)
        self._neighbours = neighbours
        self._now_ns = now_ns
        self._readings = Readings(cards, inventory, neighbours.members, self._lost, seen)
        self._deep = Deep(checkpointer, neighbours, self._readings, now_ns, step)
        self._ups: dict[str, asyncio.Future[None]] = {}  # of who is starting
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulse = Pulse()
        self._turns = Turns(self._book, neighbours, self._pulse, self._look, now_ns)
        self._has_ending = asyncio.Event()

    def open(self) -> None:
        """Begin to look at the cards from time to time."""
        self._spawn(self._look_for_ever())

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def can_deep(self) -> bool:
        """Whether the driver can be asked for checkpoints here."""
        return self._deep.is_there

    # -- who is there ------------------------------------------------------------------------------------

    def place(self, need: Need) -> tuple[str, ...] | Denied:
        """Cards for a new instance."""
        found = admit(self._book.ledger, need, self._now_ns())
        if isinstance(found, Denied):
            return found
        self._book.ledger = found
        return found.holdings[need.instance_id].cards

    async def adopt(self, need: Need, cards: tuple[str, ...], pids: tuple[int, ...], *, is_up: bool) -> Tier:
        """What a former host left: its card tells how deep it is. pids: what may have been checkpointed."""
        used = await self._readings.used(need.instance_id, cards)
        tier = Tier.AWAKE if is_up else Tier.STARTING
        if is_up and used is not None and used < need.awake_bytes // 2:
            tier = Tier.DEEP if pids and not used else Tier.ASLEEP
        self._book.ledger = taken_over(self._book.ledger, need, cards, tier, self._now_ns())
        if tier is Tier.ASLEEP and used:
            self._book.ledger = slept(self._book.ledger, need.instance_id, used, None)
        self._deep.recall(need.instance_id, pids)
        self._book.tell_overdrawn()
        return tier

    @property
    def ledger(self) -> Ledger:
        """What everybody has now."""
        return self._book.ledger

    def holds(self, instance_id: str) -> bool:
        return self._book.holds(instance_id)

    def leave(self, instance_id: str) -> None:
        """Nothing of it runs any more. Its memory counts until the cards are seen free of it."""
        holding = self._book.ledger.holdings.get(instance_id)
        up = self._ups.pop(instance_id, None)
        if up is not None and not up.done():
            up.set_exception(StepFailed("it has ended"))
        self._deep.forget(instance_id)
        if holding is None or holding.tier is Tier.ENDING:
            return
        change = removed if holding.tier in (Tier.DOWN, Tier.DEEP) else ending
        self._book.ledger = change(self._book.ledger, instance_id)
        self._has_ending.set()
        self.nudge()

    def cannot_sleep(self, instance_id: str) -> None:
        """Its engine does not know how to: it keeps its memory for as long as it lives."""
        self._revise(instance_id, can_sleep=False)

    # -- up ----------------------------------------------------------------------------------------------

    async def make_room(self, instance_id: str, seconds: float) -> Brought:
        """Before its first process: until its memory is free and nobody else starts or wakes on its cards."""
        up = self._ups[instance_id] = asyncio.get_running_loop().create_future()
        # Looked at even where nobody waits for it any more, or its end would be reported as lost.
        up.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

        async def come_up() -> str | None:
            await up
            return None

        return await self._bring(instance_id, come_up, seconds)

    async def started(self, instance_id: str) -> None:
        """It is warm: what it uses now is what it will need when it wakes."""
        holding = self._book.ledger.holdings[instance_id]
        used = await self._readings.used(instance_id, holding.cards)
        if used is not None and used > holding.need.awake_bytes:
            asked = holding.need.awake_bytes // MIB
            log.warning("uses more than asked for", instance=instance_id, used_mb=used // MIB, asked_mb=asked)
            self._revise(instance_id, awake_bytes=used)
        up = self._ups.pop(instance_id, None)
        if up is not None and not up.done():
            up.set_result(None)
        elif self.holds(instance_id):  # taken over in the middle of its start
            self._book.apply(moved(self._book.ledger, instance_id, Tier.AWAKE, self._now_ns()))

    async def wake(self, instance_id: str, up: Up, seconds: float) -> Brought:
        """Bring one up that is asleep or deep; up thaws it and wakes its engine."""
        former = self._book.ledger.holdings[instance_id]
        # One that is moving is on its way down by this host's word: `_bring` waits for the end of that.
        if self._deep.may_be(instance_id) and former.tier is not Tier.DEEP and not former.is_moving:
            try:  # a former host ended in the middle of a checkpoint
                await self._deep.restore(instance_id)
            except StepFailed as error:
                return Brought(str(error))
        if self._book.ledger.holdings[instance_id].tier is Tier.AWAKE:
            return Brought(await up())
        return await self._bring(instance_id, up, seconds)

    async def _bring(self, instance_id: str, up: Up, seconds: float) -> Brought:
        try:
            return await self._try_until(instance_id, up, seconds)
        finally:
            self._turns.release(instance_id)

    async def _try_until(self, instance_id: str, up: Up, seconds: float) -> Brought:
        deadline = self._now_ns() + round(seconds * SECOND_NS)
        reason = ""
        while True:
            plan = await self._turns.plan(instance_id, deadline)
            if isinstance(plan, Denied):
                return Brought("; ".join(filter(None, (plan.reason, reason))), is_put_off=True)
            failed = await self._swap(plan, up)
            if failed is None:
                return Brought()
            outcome = broken(plan, failed.action or Wake(instance_id), failed.reason)
            if instance_id in outcome.replace_ids or not self.holds(instance_id):
                return Brought(outcome.reason)
            reason = outcome.reason
            log.warning("a swap failed", reason=reason)
            if self._now_ns() >= deadline:
                return Brought(reason, is_put_off=True)
            await self._look()  # what is on the cards that nobody knew of?
            await self._pulse.next(TRY_AGAIN_SECONDS)

    async def _swap(self, plan: SwapPlan, up: Up) -> StepFailed | None:
        """Returns when its target is up, or starts; what comes after that goes on beside."""
        is_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = self._spawn(self._carry_out(plan, up, is_up))
        try:
            await asyncio.wait({task, is_up}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if is_up.done():
            return None
        error = task.exception()
        if isinstance(error, StepFailed):
            return error
        raise error or RuntimeError(f"the swap to {plan.instance_id} ended with nobody up")

    async def _carry_out(self, plan: SwapPlan, up: Up, is_up: asyncio.Future[None]) -> None:
        has_sinks = any(isinstance(step.action, Checkpoint) for step in plan.steps)

        async def do(action: Action) -> None:
            self._book.may(begins, action)
            match action:
                case Sleep(name):
                    await self._sleep(name)
                case Checkpoint(name):
                    await self._sink(name)
                case Confirm():
                    await self._confirm(action)
                case Restore(name):
                    await self._deep.restore(name)
                case Wake():
                    if (trouble := await up()) is not None:
                        raise StepFailed(trouble)
                case Start():
                    is_up.set_result(None)
                    await up()
                case FirstToken(name):
                    await self._first_token(name, is_worth_it=has_sinks)
            self._book.may(done, action)
            if isinstance(action, Wake):
                is_up.set_result(None)

        try:
            await carry_out(plan, do)
        except StepFailed as error:
            if not is_up.done():
                raise
            log.warning("not all of a swap was done", instance=plan.instance_id, reason=error.reason)
        finally:
            self._book.ledger = closed(self._book.ledger, plan)
            self.nudge()

    # -- the steps ---------------------------------------------------------------------------------------

    async def _sleep(self, name: str) -> None:
        await self._neighbours.sleep(name)
        holding = self._book.ledger.holdings.get(name)
        if holding is not None and holding.tier not in (Tier.ASLEEP, Tier.DEEP):
            raise StepFailed(f"instance {name} did not go to sleep")

    async def _confirm(self, step: Confirm) -> None:
        deadline = self._now_ns() + round(CONFIRM_SECONDS * SECOND_NS)
        while True:
            reading = await self._readings.of(step.uuid)
            if reading is not None and is_confirmed(step, reading.free_bytes):
                return
            if self._now_ns() >= deadline:
                free = "unknown" if reading is None else f"{reading.free_bytes // MIB} MB"
                raise StepFailed(f"{step.free_bytes // MIB} MB are needed; free is {free}")
            await asyncio.sleep(CONFIRM_PAUSE_SECONDS)

    async def _first_token(self, name: str, *, is_worth_it: bool) -> None:
        """Until it had a request and is done with it, or a moment: the next step takes time from nobody."""
        began = self._now_ns()
        deadline = began + round(FIRST_TOKEN_SECONDS * SECOND_NS)
        while is_worth_it and (now := self._now_ns()) < deadline:
            load = self._neighbours.load(name)
            if load is None or (load[0] == 0 and load[1] > began):
                return
            await self._pulse.next((deadline - now) / SECOND_NS)

    # -- down --------------------------------------------------------------------------------------------

    async def went_asleep(self, instance_id: str) -> str | None:
        """Its engine sleeps: the ledger has its memory back. None, or what is wrong with what it has left."""
        self._book.apply(moved(self._book.ledger, instance_id, Tier.ASLEEP, self._now_ns()))
        used = await self._readings.used(instance_id, self._book.ledger.holdings[instance_id].cards)
        if used is None or not self.holds(instance_id):
            return None
        grown = has_grown(self._book.ledger, instance_id, used)
        self._book.ledger = slept(self._book.ledger, instance_id, used, None)
        self.nudge()
        return grown

    async def sink(self, instance_id: str) -> str | None:
        """The driver takes what one that is asleep has left on its cards. None, or why not."""
        holding = self._book.ledger.holdings.get(instance_id)
        if holding is None or holding.tier is not Tier.ASLEEP or not holding.need.can_deep:
            return "it is not asleep, or cannot be checkpointed"
        if any(other.is_moving for uuid in holding.cards for other in on_card(self._book.ledger, uuid)):
            return "a swap is under way on its card"
        self._book.ledger = marked(self._book.ledger, [instance_id], is_moving=True)
        try:
            await self._sink(instance_id)
            self._book.may(done, Checkpoint(instance_id))
        except StepFailed as error:
            return error.reason
        finally:
            self._book.ledger = marked(self._book.ledger, [instance_id], is_moving=False)
            self.nudge()
        return None

    async def _sink(self, name: str) -> None:
        try:
            await self._deep.sink(name, self._book.ledger.holdings[name].cards)
        except StepFailed:
            self._revise(name, can_deep=False)  # not tried again for as long as it lives
            raise

    # -- looking -----------------------------------------------------------------------------------------

    async def _look_for_ever(self) -> None:
        """Who ended is forgotten when its memory is free; what others use is not given away."""
        while True:
            await self._look()
            if any(holding.tier is Tier.ENDING for holding in self._book.ledger.holdings.values()):
                await asyncio.sleep(LOOK_CLOSELY_SECONDS)
                continue
            self._has_ending.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._has_ending.wait()

    async def _look(self) -> None:
        former = self._book.ledger
        for uuid, room in former.rooms.items():
            reading = await self._readings.of(uuid)
            if reading is not None:
                foreign = self._readings.foreign(reading, room.floor_bytes, former.holdings)
                self._book.ledger = observed(self._book.ledger, uuid, reading.used_bytes, foreign)
        if self._book.ledger != former:
            self.nudge()

    def _lost(self, uuid: str) -> None:
        self._book.ledger = lost(self._book.ledger, uuid)

    def _revise(self, instance_id: str, **found: int | bool) -> None:
        if self.holds(instance_id):
            self._book.ledger = revised(self._book.ledger, instance_id, **found)  # type: ignore[arg-type]
            self._book.tell_overdrawn()

    # -- small things ------------------------------------------------------------------------------------

    def nudge(self) -> None:
        """Something has changed for those who wait: a request ended, an instance went, a card was read."""
        self._pulse.beat()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StepFailed):
            log.error("work on the cards failed. This is a bug in tickover.", exc_info=error)

"""Where instances meet the cards: what the pool asks of the GPU side, and the GPU side of the pool.

Owns: the keeper of this host's cards, if it has any. Promises: without a card, and for a function that wants
none, everything goes on as if this was not there. Never: changes an instance's state but by telling an event.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from tickover.host import modelserver
from tickover.host.clock import Clock
from tickover.host.gpu.checkpoint import Checkpointer, CheckpointFailed, HelperCheckpointer
from tickover.host.gpu.inventory import Inventory, describe, take
from tickover.host.gpu.keeper import Brought, Keeper
from tickover.host.gpu.ledger import Denied, Need, Rules, Tier
from tickover.host.gpu.needs import Wish, need_of
from tickover.host.gpu.nvml import Cards, CardsFailed, NoCards, open_cards, read
from tickover.host.gpu.sequence import is_stopped
from tickover.host.instance import SLEEPING, Instance, PoolSettings, deepest_of
from tickover.host.looks import FolderSilent, Looks
from tickover.host.metrics import Metrics
from tickover.host.model import Deepest, InstanceState
from tickover.host.modelserver import ServerRefused
from tickover.host.roster import Roster
from tickover.host.runtimes.base import Gpu, Runtime, RuntimeFailed
from tickover.host.scheduler import in_the_way, too_many
from tickover.host.states import UP, Event

log = structlog.get_logger(__name__)

RAM_SHARE: Final = 0.9  # of the machine's memory; the rest is for the system and the page cache
THAW_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.005
_RUNGS: Final[Mapping[Tier, Deepest]] = {Tier.ASLEEP: Deepest.SLEEP, Tier.DEEP: Deepest.CHECKPOINT}


@dataclass(frozen=True, slots=True)
class Gpus:
    """The cards of a machine, as found at start. cards: None without any."""

    inventory: Inventory
    cards: Cards | None = None
    checkpointer: Checkpointer | None = None
    ram_bytes: int = 0
    rules: Rules | None = None


def find_gpus() -> Gpus:
    """What NVML shows. A machine without a card, or with one that cannot be read, is an answer."""
    cards = open_cards()
    if isinstance(cards, NoCards):
        return Gpus(take(cards))
    try:
        inventory = take([read(cards, card) for card in cards.cards()])
    except CardsFailed as error:
        return Gpus(take(NoCards(str(error))))
    ram = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * RAM_SHARE)
    return Gpus(inventory, cards, HelperCheckpointer(), ram)


class CardDesk:
    """Satisfies `tickover.host.gpu.neighbours.Neighbours` for the keeper."""

    def __init__(
        self,
        gpus: Gpus,
        roster: Roster,
        runtimes: Mapping[str, Runtime],
        nas: Mapping[str, Path],
        clock: Clock,
        settings: PoolSettings,
        happened: Callable[[Instance, Event, str], None],
        judged: Callable[[Instance], None],
        note: Callable[[Instance], None],
        next_change: Callable[[], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._gpus = gpus
        self._roster = roster
        self._runtimes = runtimes
        self._nas = nas
        self._clock = clock
        self._settings = settings
        self._happened = happened
        self._judged = judged
        self._note = note
        self._next_change = next_change
        self._metrics = metrics
        self._keeper: Keeper | None = None
        self._looks = Looks()

    # -- open and close ----------------------------------------------------------------------------------

    async def open(self, adopted: Collection[Instance]) -> None:
        """Take over what a former host has put on the cards, before anything is done with it."""
        gpus = self._gpus
        if gpus.cards is None:
            return
        checkpointer = await self._usable(gpus.checkpointer)
        keeper = Keeper(
            gpus.cards,
            gpus.inventory,
            gpus.ram_bytes,
            self,
            checkpointer,
            self._clock.mono_ns,
            gpus.rules,
            self._metrics.gpu_used,
            self._metrics.step,
        )
        self._keeper = keeper
        for instance in adopted:
            need = await self._known_need(instance) if instance.cards else None
            if isinstance(need, Need):
                is_up = instance.state in UP | {InstanceState.DRAINING, InstanceState.STOPPING}
                tier = await keeper.adopt(need, instance.cards, instance.deep_pids, is_up=is_up)
                instance.can_deep = need.can_deep
                instance.rung = _RUNGS.get(tier, Deepest.NONE)
        keeper.open()

    async def _usable(self, checkpointer: Checkpointer | None) -> Checkpointer | None:
        """The checkpointer if the driver can be asked at all."""
        if not isinstance(checkpointer, HelperCheckpointer):
            return checkpointer
        try:
            await checkpointer.warm_up()
        except CheckpointFailed as error:
            log.warning("no CUDA checkpoints here: an idle engine keeps its residue", reason=str(error))
            return None
        return checkpointer

    async def close(self) -> None:
        if self._keeper is not None:
            await self._keeper.close()
        if isinstance(self._gpus.checkpointer, HelperCheckpointer):
            await self._gpus.checkpointer.close()

    def describe(self) -> tuple[str, ...]:
        """Lines for `host status`."""
        return describe(self._gpus.inventory)

    # -- for the works: up -------------------------------------------------------------------------------

    async def take(self, instance: Instance) -> tuple[Gpu, ...] | None:
        """Its cards, with room for it; none for a function without a GPU; None if there is no card here.

        Raises RuntimeFailed.
        """
        keeper, need = self._keeper, await self._need(instance)
        if isinstance(need, str):
            raise RuntimeFailed(need)
        if need is None or keeper is None:
            return None if keeper is None else ()
        found = keeper.place(need)
        if isinstance(found, Denied) and await self._old_ones_left(instance, found.reason):
            found = keeper.place(need)
        if isinstance(found, Denied):
            raise RuntimeFailed(found.reason)
        instance.cards, instance.can_deep = found, need.can_deep
        seconds = self._settings.start_deadline_seconds
        brought = await keeper.make_room(instance.instance_id, seconds)
        if brought.is_put_off and await self._old_ones_left(instance, brought.trouble or ""):
            brought = await keeper.make_room(instance.instance_id, seconds)
        if brought.trouble is not None:
            raise RuntimeFailed(brought.trouble)
        index = {place.card.uuid: place.card.index for place in self._gpus.inventory.places}
        return tuple(Gpu(index[uuid], uuid) for uuid in found)

    async def _old_ones_left(self, instance: Instance, reason: str) -> bool:
        """Whether those whom it replaces were in the way, and have ended: no room for new before old."""
        keeper, roster = self._keeper, self._roster
        pool = roster.pools.get(instance.key)
        if keeper is None or pool is None:
            return False
        there = in_the_way(pool, roster.of(instance.key), instance, self._clock.mono_ns())
        other = roster.pools.get(instance.key.other)
        if other is not None:
            there += too_many(other, roster.of(instance.key.other))
        old = [i for i in there if keeper.holds(i.instance_id)]
        for former in old:
            log.warning("an update needs a gap", pool=str(instance.key), ends=former.instance_id, why=reason)
            self._happened(former, Event.RETIRED, f"it makes room for its replacement: {reason}")
        while any(former.instance_id in self._roster.instances for former in old):
            await self._next_change()
        return bool(old)

    async def started(self, instance: Instance) -> None:
        """It is warm, and its engine was asked whether it can sleep."""
        if (keeper := self._of(instance)) is not None:
            if instance.can_sleep is False:
                keeper.cannot_sleep(instance.instance_id)
                instance.can_deep = False
            await keeper.started(instance.instance_id)

    async def wake(self, instance: Instance, up: Callable[[], Awaitable[str | None]]) -> Brought:
        """up: thaws it and wakes its engine; called when its cards have room."""
        keeper = self._of(instance)
        if keeper is None:
            return Brought(await up())
        return await keeper.wake(instance.instance_id, up, self._settings.queue_wait_seconds)

    # -- for the works: down -----------------------------------------------------------------------------

    async def went_asleep(self, instance: Instance) -> None:
        if (keeper := self._of(instance)) is not None:
            grown = await keeper.went_asleep(instance.instance_id)
            holding = keeper.ledger.holdings.get(instance.instance_id)
            if holding is not None and holding.residue_bytes is not None:
                self._metrics.residue(instance.key.function_name, holding.residue_bytes)
            if grown is not None:
                log.warning("leaves more and more asleep", instance=instance.instance_id, what=grown)
                instance.sink_ns = self._clock.mono_ns() if instance.can_deep else None

    async def sink(self, instance: Instance) -> None:
        """To the deepest rung, if nothing speaks against it now."""
        if (keeper := self._of(instance)) is not None:
            trouble = await keeper.sink(instance.instance_id)
            if trouble is not None:
                log.info("stays asleep", instance=instance.instance_id, why=trouble)

    def leave(self, instance: Instance) -> None:
        """Nothing of it runs any more."""
        if self._keeper is not None:
            self._keeper.leave(instance.instance_id)

    def nudge(self) -> None:
        if self._keeper is not None:
            self._keeper.nudge()

    def _of(self, instance: Instance) -> Keeper | None:
        keeper = self._keeper
        return keeper if keeper is not None and keeper.holds(instance.instance_id) else None

    async def _known_need(self, instance: Instance) -> Need | str | None:
        """As `_need`, and without the sizes of files where they cannot be seen."""
        try:
            return await self._need(instance)
        except FolderSilent as error:
            log.warning("host memory by settings", instance=instance.instance_id, why=error.reason)
            return self._seen_need(instance, {})

    async def _need(self, instance: Instance) -> Need | str | None:
        """What it needs of the cards. Raises FolderSilent."""
        return await self._looks.of(instance.spec, lambda: self._seen_need(instance, self._nas))

    def _seen_need(self, instance: Instance, nas: Mapping[str, Path]) -> Need | str | None:
        can_sleep = instance.idle_enabled and deepest_of(instance.spec, self._settings) in SLEEPING
        can_deep = deepest_of(instance.spec, self._settings) is Deepest.CHECKPOINT
        wish = Wish(
            instance.instance_id,
            instance.key.function_name,
            instance.spec,
            can_sleep,
            can_deep and self._keeper is not None and self._keeper.can_deep,
            keeps_weights=instance.sleep_level == 1,
        )
        return need_of(wish, self._gpus.inventory, nas, self._gpus.rules or Rules())

    # -- for the keeper ----------------------------------------------------------------------------------

    def load(self, instance_id: str) -> tuple[int, int] | None:
        instance = self._roster.instances.get(instance_id)
        return (instance.in_flight, instance.empty_mono_ns) if instance is not None else None

    def members(self, instance_id: str) -> Collection[int]:
        instance = self._roster.instances.get(instance_id)
        if instance is None or not instance.ref:
            return ()
        return self._runtimes[instance.runtime].members(instance_id, instance.ref)

    def hold(self, instance_id: str, is_held: bool) -> None:
        instance = self._roster.instances.get(instance_id)
        if instance is not None and instance.is_held != is_held:
            log.info("held from newcomers" if is_held else "held no more", instance=instance_id)
            instance.is_held = is_held
            self._judged(instance)

    async def sleep(self, instance_id: str) -> None:
        instance = self._roster.instances.get(instance_id)
        if instance is None:
            return
        if instance.state is InstanceState.READY:
            self._happened(instance, Event.LINGERED, "")
        while instance.state is InstanceState.SUSPENDING:
            await self._next_change()

    async def is_asleep(self, instance_id: str) -> bool:
        instance = self._roster.instances[instance_id]
        address = self._runtimes[instance.runtime].host, instance.port or 0
        try:
            return await modelserver.is_sleeping(*address) is True
        except ServerRefused as error:
            log.warning("does not tell whether it sleeps", instance=instance_id, reason=str(error))
            return False

    async def thaw(self, instance_id: str) -> str | None:
        instance = self._roster.instances.get(instance_id)
        if instance is None:
            return "it is gone"
        try:
            await self._runtimes[instance.runtime].thaw(instance.ref)
        except RuntimeFailed as error:
            return error.reason
        deadline = asyncio.get_running_loop().time() + THAW_SECONDS
        while any(is_stopped(pid) for pid in self.members(instance_id)):
            if asyncio.get_running_loop().time() > deadline:
                return f"its processes did not go on within {THAW_SECONDS:g} s"
            await asyncio.sleep(_PAUSE_SECONDS)
        return None

    async def freeze(self, instance_id: str) -> None:
        instance = self._roster.instances.get(instance_id)
        if instance is None or instance.state is not InstanceState.IDLE:
            return  # it is on its way up again, or gone
        try:
            await self._runtimes[instance.runtime].freeze(instance.ref)
        except RuntimeFailed as error:
            log.warning("not frozen; it is idle all the same", instance=instance_id, reason=error.reason)

    def sunk(self, instance_id: str, pids: tuple[int, ...], *, is_deep: bool) -> None:
        instance = self._roster.instances.get(instance_id)
        if instance is None:
            return
        instance.deep_pids = pids
        if is_deep:
            instance.rung = Deepest.CHECKPOINT
            self._metrics.residue(instance.key.function_name, 0)
        elif instance.rung is Deepest.CHECKPOINT:
            instance.rung = Deepest.SLEEP
        self._note(instance)

    def condemn(self, instance_id: str, reason: str) -> None:
        instance = self._roster.instances.get(instance_id)
        if instance is not None:
            self._happened(instance, Event.FAULTED, reason)

"""The deepest rung of one instance: checkpointed by the driver, and back.

Owns: which processes were checkpointed, or may have been. Promises: they are on record before the driver is
called and until it has given all of them back; an instance is thawed before and frozen after. Never: decides
when, keeps the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from tickover.host.gpu.checkpoint import Checkpointer
from tickover.host.gpu.neighbours import Neighbours
from tickover.host.gpu.readings import Readings
from tickover.host.gpu.sequence import AsleepProof, Rung, come_back, go_deep
from tickover.host.gpu.steps import StepFailed
from tickover.host.idle import Steps, no_steps
from tickover.host.model import Deepest

log = structlog.get_logger(__name__)


class Deep:
    """Takes instances to the driver and back. checkpointer: None where the driver cannot be asked. step:
    measures what succeeds."""

    def __init__(
        self,
        checkpointer: Checkpointer | None,
        neighbours: Neighbours,
        readings: Readings,
        now_ns: Callable[[], int],
        step: Steps = no_steps,
    ) -> None:
        self._checkpointer = checkpointer
        self._neighbours = neighbours
        self._readings = readings
        self._now_ns = now_ns
        self._step = step
        self._pids: dict[str, tuple[int, ...]] = {}

    @property
    def is_there(self) -> bool:
        return self._checkpointer is not None

    def may_be(self, instance_id: str) -> bool:
        """Whether the driver may have it."""
        return instance_id in self._pids

    def recall(self, instance_id: str, pids: tuple[int, ...]) -> None:
        """What a former host has put on record."""
        if pids:
            self._pids[instance_id] = pids

    def forget(self, instance_id: str) -> None:
        self._pids.pop(instance_id, None)

    async def sink(self, name: str, cards: Collection[str]) -> None:
        """Checkpoint one that is asleep. Raises StepFailed; it is asleep as before then, or condemned."""
        with self._step(Deepest.CHECKPOINT, "down"):
            await self._sink(name, cards)

    async def _sink(self, name: str, cards: Collection[str]) -> None:
        if self._checkpointer is None:
            raise StepFailed("CUDA checkpoints cannot be made here")
        pids = await self._readings.computing(name, cards)
        if pids is None:
            raise StepFailed("its card cannot be read")
        if (trouble := await self._neighbours.thaw(name)) is not None:
            raise StepFailed(trouble)
        proof = None
        if await self._neighbours.is_asleep(name):
            proof = AsleepProof(name, self._now_ns(), "GET /is_sleeping said so")
        self._pids[name] = pids
        self._neighbours.sunk(name, pids, is_deep=False)  # before the call: the host may end in it
        outcome = await go_deep(self._checkpointer, pids, name, proof, self._now_ns())
        if outcome.rung is Rung.REPLACE:
            self._neighbours.condemn(name, outcome.reason)
            raise StepFailed(outcome.reason)
        is_deep = outcome.rung is Rung.DEEP
        if not is_deep:
            self.forget(name)
        self._neighbours.sunk(name, pids if is_deep else (), is_deep=is_deep)
        await self._neighbours.freeze(name)
        if not is_deep:
            log.warning("not checkpointed", instance=name, reason=outcome.reason, undone=outcome.undone)
            raise StepFailed(outcome.reason)

    async def restore(self, name: str) -> None:
        """Asleep again, and running. Raises StepFailed: then it has to be replaced."""
        with self._step(Deepest.CHECKPOINT, "up"):
            await self._restore(name)

    async def _restore(self, name: str) -> None:
        if (trouble := await self._neighbours.thaw(name)) is not None:
            raise StepFailed(trouble)
        if self._checkpointer is None:
            raise StepFailed("CUDA checkpoints cannot be made here any more")
        outcome = await come_back(self._checkpointer, self._pids.get(name, ()), name)
        if not outcome.is_done:
            raise StepFailed(outcome.reason)
        self.forget(name)
        self._neighbours.sunk(name, (), is_deep=False)

"""Cards and a checkpoint driver that are not there, with every fault that was met on real ones.

Owns: a simulated machine for tests and dry runs. Promises: behaves as NVML and the driver were seen to: an
empty card reads its floor, a killed process's memory comes back seconds later, a checkpointed process is not
in the list, a restore needs room. Never: used where a real card is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tickover.host.gpu.checkpoint import CheckpointFailed, CudaState
from tickover.host.gpu.driver import Driver, DriverError
from tickover.host.gpu.nvml import MIB, Card, CardProcess, CardsFailed

_T = TypeVar("_T")

FLOOR_BYTES = 483 * MIB
KILL_LAG_SECONDS = 3.0  # 2.8 to 4.6 were measured


@dataclass(slots=True)
class _Slot:
    """What one process has on one card; until: when memory of a dead one comes back."""

    pid: int
    used_bytes: int
    until: float | None = None


class OutOfMemory(Exception):
    """More was asked of a card than it has."""


class SimulatedCards:
    """`Cards` whose processes grow and shrink at a word. now: seconds; lag: of the memory of killed ones."""

    def __init__(
        self,
        cards: tuple[Card, ...],
        now: Callable[[], float],
        floor_bytes: int = FLOOR_BYTES,
        lag_seconds: float = KILL_LAG_SECONDS,
    ) -> None:
        self._cards = cards
        self._now = now
        self._floor = floor_bytes
        self._lag = lag_seconds
        self._slots: dict[str, list[_Slot]] = {card.uuid: [] for card in cards}
        self.failing: set[str] = set()  # every call on these cards fails
        self.gone: set[str] = set()  # these cards fell off the bus
        self.silent: set[int] = set()  # the driver does not tell what these processes use

    def cards(self) -> tuple[Card, ...]:
        return self._cards

    def used_bytes(self, uuid: str) -> int:
        self._ask(uuid)
        return self._floor + sum(slot.used_bytes for slot in self._present(uuid))

    def processes(self, uuid: str) -> tuple[CardProcess, ...]:
        self._ask(uuid)
        living = [slot for slot in self._present(uuid) if slot.until is None and slot.used_bytes]
        return tuple(
            CardProcess(s.pid, None if s.pid in self.silent else s.used_bytes)
            for s in sorted(living, key=lambda s: s.pid)
        )

    def put(self, uuid: str, pid: int, used_bytes: int) -> None:
        """A process now has so much on a card. Raises OutOfMemory, and then it has what it had."""
        slots = self._present(uuid)
        others = sum(slot.used_bytes for slot in slots if slot.pid != pid or slot.until is not None)
        total = next(card.total_bytes for card in self._cards if card.uuid == uuid)
        if self._floor + others + used_bytes > total:
            raise OutOfMemory(
                f"process {pid} wants {used_bytes} bytes; {total - self._floor - others} are left"
            )
        kept = [slot for slot in slots if slot.pid != pid or slot.until is not None]
        self._slots[uuid] = [*kept, _Slot(pid, used_bytes)]

    def held(self, pid: int) -> dict[str, int]:
        """What a process has, by card."""
        return {
            uuid: slot.used_bytes
            for uuid in self._slots
            for slot in self._present(uuid)
            if slot.pid == pid and slot.until is None
        }

    def kill(self, pid: int) -> None:
        """The process is gone at once; its memory later."""
        for slots in self._slots.values():
            for slot in slots:
                if slot.pid == pid and slot.until is None:
                    slot.until = self._now() + self._lag

    def _present(self, uuid: str) -> list[_Slot]:
        now = self._now()
        self._slots[uuid] = [s for s in self._slots[uuid] if s.until is None or s.until > now]
        return self._slots[uuid]

    def _ask(self, uuid: str) -> None:
        if uuid in self.gone:
            raise CardsFailed(uuid, "GPU is lost", is_lost=True)
        if uuid in self.failing:
            raise CardsFailed(uuid, "Unknown Error")
        if uuid not in self._slots:
            raise CardsFailed(uuid, "this machine has no such card")


@dataclass(slots=True)
class Fault:
    """What a call does instead: fail with a code, hang, or break the process. once: only the first time."""

    code: str = ""
    hang_seconds: float = 0.0
    is_half_done: bool = False  # the call fails and leaves the process FAILED
    once: bool = True


@dataclass(slots=True)
class SimulatedDriver:
    """`Driver` without a driver: blocking, as the real one. faults: by (verb, pid); pid 0 is any process."""

    cards: SimulatedCards | None = None
    states: dict[int, str] = field(default_factory=dict)
    faults: dict[tuple[str, int], Fault] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)
    taken: dict[int, dict[str, int]] = field(default_factory=dict)
    is_blocking: bool = True  # a hang blocks, as in a helper process; else it is told by the code "hung"

    def state(self, pid: int) -> str:
        self._called("state", pid)
        return self.states.get(pid, "none")

    def lock(self, pid: int, timeout_ms: int) -> None:
        self._called("lock", pid)
        self._turn(pid, "running", "locked")

    def checkpoint(self, pid: int) -> None:
        self._called("checkpoint", pid)
        self._turn(pid, "locked", "checkpointed")
        if self.cards is not None:
            self.taken[pid] = self.cards.held(pid)
            for uuid in self.taken[pid]:
                self.cards.put(uuid, pid, 0)

    def restore(self, pid: int) -> None:
        self._called("restore", pid)
        self._expect(pid, "checkpointed")
        try:
            for uuid, used_bytes in self.taken.get(pid, {}).items():
                assert self.cards is not None
                self.cards.put(uuid, pid, used_bytes)
        except OutOfMemory as error:
            raise DriverError("CUDA_ERROR_OUT_OF_MEMORY", str(error)) from error
        self.states[pid] = "locked"

    def unlock(self, pid: int) -> None:
        self._called("unlock", pid)
        self._turn(pid, "locked", "running")

    def _turn(self, pid: int, former: str, new: str) -> None:
        self._expect(pid, former)
        self.states[pid] = new

    def _expect(self, pid: int, wanted: str) -> None:
        found = self.states.get(pid)
        if found is None:
            raise DriverError("CUDA_ERROR_OPERATING_SYSTEM", f"there is no process {pid}")
        if found != wanted:
            raise DriverError("CUDA_ERROR_ILLEGAL_STATE", f"process {pid} is {found}, not {wanted}")

    def _called(self, verb: str, pid: int) -> None:
        self.calls.append((verb, pid))
        key = (verb, pid) if (verb, pid) in self.faults else (verb, 0)
        fault = self.faults.get(key)
        if fault is None:
            return
        if fault.once:
            del self.faults[key]
        if fault.is_half_done:
            self.states[pid] = "failed"
        if fault.hang_seconds and self.is_blocking:
            time.sleep(fault.hang_seconds)
        elif fault.hang_seconds:
            raise DriverError("hung", "the driver did not return; its helper was ended")
        if fault.code:
            raise DriverError(fault.code)


class SimulatedCheckpointer:
    """`Checkpointer` over a driver in this process; only for one whose hangs do not block."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def state(self, pid: int) -> CudaState:
        return CudaState(await self._do("state", pid, lambda: self._driver.state(pid)))

    async def lock(self, pid: int, timeout_seconds: float) -> None:
        await self._do("lock", pid, lambda: self._driver.lock(pid, round(timeout_seconds * 1000)))

    async def checkpoint(self, pid: int) -> None:
        await self._do("checkpoint", pid, lambda: self._driver.checkpoint(pid))

    async def restore(self, pid: int) -> None:
        await self._do("restore", pid, lambda: self._driver.restore(pid))

    async def unlock(self, pid: int) -> None:
        await self._do("unlock", pid, lambda: self._driver.unlock(pid))

    async def _do(self, verb: str, pid: int, call: Callable[[], _T]) -> _T:
        await asyncio.sleep(0)  # others get their turn, as with a real call
        try:
            return call()
        except DriverError as error:
            raise CheckpointFailed(verb, pid, error.code, error.reason) from error

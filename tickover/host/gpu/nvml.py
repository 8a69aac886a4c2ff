"""The cards of this machine as NVML tells, behind a narrow protocol.

Owns: the values of a reading, the protocol `Cards`, and its implementation over the package nvidia-ml-py.
Promises: no library, no driver or no card is an answer (`NoCards`), not an error; every failure of a call is
a `CardsFailed` that names the card. Never: changes a card, imports the library before it is asked for, keeps
a reading. Its calls block, for milliseconds on a sound driver: call them beside the event loop.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Card:
    """One physical card. total_bytes: all of its memory, what the driver keeps included."""

    index: int
    uuid: str
    name: str
    total_bytes: int


@dataclass(frozen=True, slots=True)
class CardProcess:
    """A process that computes on a card. used_bytes: None where the driver does not tell."""

    pid: int
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One card at one moment. used_bytes is the whole card's: an empty one does not read 0."""

    card: Card
    used_bytes: int
    processes: tuple[CardProcess, ...]

    @property
    def free_bytes(self) -> int:
        return max(self.card.total_bytes - self.used_bytes, 0)

    def used_by(self, pids: Collection[int]) -> int | None:
        """What these processes have on it together; None if one of them does not tell."""
        found = [process.used_bytes for process in self.processes if process.pid in pids]
        known = [used for used in found if used is not None]
        return sum(known) if len(known) == len(found) else None

    def foreign_bytes(self, ours: Collection[int], floor_bytes: int) -> int:
        """What processes that are not ours have on it; where one does not tell, whatever is left over."""
        others = {process.pid for process in self.processes} - set(ours)
        known = self.used_by(others)
        if known is not None:
            return known
        mine = sum(process.used_bytes or 0 for process in self.processes if process.pid in ours)
        return max(self.used_bytes - floor_bytes - mine, 0)


@dataclass(frozen=True, slots=True)
class NoCards:
    """This machine has no usable card; reason is a phrase for a person."""

    reason: str


@dataclass(eq=False)
class CardsFailed(Exception):
    """A card could not be read. is_lost: it fell off the bus, and only a reset brings it back."""

    uuid: str
    reason: str
    is_lost: bool = False

    def __str__(self) -> str:
        return f"card {self.uuid or '(none)'} could not be read: {self.reason}"


class Cards(Protocol):
    """The cards of a machine. All but `cards` raise CardsFailed; uuid is one that `cards` named."""

    def cards(self) -> tuple[Card, ...]: ...

    def used_bytes(self, uuid: str) -> int: ...

    def processes(self, uuid: str) -> tuple[CardProcess, ...]: ...


def read(cards: Cards, card: Card) -> Reading:
    """A reading of one card. Raises CardsFailed."""
    processes = cards.processes(card.uuid)
    return Reading(card, cards.used_bytes(card.uuid), processes)


def _library() -> Any:
    return importlib.import_module("pynvml")


def open_cards(library: Callable[[], Any] = _library) -> NvmlCards | NoCards:
    """The cards of this machine, or why there is none."""
    try:
        nvml = library()
    except ImportError:
        return NoCards("the Python package nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
        count = int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        return NoCards(_why_not(nvml, error))
    if count == 0:
        return NoCards("the NVIDIA driver runs but sees no card")
    try:
        return NvmlCards(nvml, count)
    except CardsFailed as error:
        return NoCards(str(error))


def _why_not(nvml: Any, error: Any) -> str:
    code = getattr(error, "value", None)
    if code == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return "the NVIDIA driver is not installed (libnvidia-ml.so.1 is not there)"
    if code == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return "the NVIDIA driver is installed but not loaded"
    if code == nvml.NVML_ERROR_NO_PERMISSION:
        return "this user may not use the NVIDIA driver"
    return f"NVML does not start: {error}"


class NvmlCards:
    """`Cards` over pynvml. `close` ends its use of the library."""

    def __init__(self, nvml: Any, count: int) -> None:
        self._nvml = nvml
        self._handles: dict[str, Any] = {}
        self._cards = tuple(self._open(index) for index in range(count))

    def _open(self, index: int) -> Card:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = _text(nvml.nvmlDeviceGetUUID(handle)), _text(nvml.nvmlDeviceGetName(handle))
            total = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
        except nvml.NVMLError as error:
            raise CardsFailed(f"number {index}", str(error)) from error
        self._handles[uuid] = handle
        return Card(index, uuid, name, total)

    def cards(self) -> tuple[Card, ...]:
        return self._cards

    def used_bytes(self, uuid: str) -> int:
        return int(self._ask(uuid, self._nvml.nvmlDeviceGetMemoryInfo).used)

    def processes(self, uuid: str) -> tuple[CardProcess, ...]:
        found: dict[int, int | None] = {}
        for entry in self._ask(uuid, self._nvml.nvmlDeviceGetComputeRunningProcesses):
            used, former = entry.usedGpuMemory, found.get(entry.pid, 0)
            # A process with several contexts is listed once for each.
            found[entry.pid] = None if used is None or former is None else former + int(used)
        return tuple(CardProcess(pid, used) for pid, used in sorted(found.items()))

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _ask(self, uuid: str, question: Callable[[Any], Any]) -> Any:
        handle = self._handles.get(uuid)
        if handle is None:
            raise CardsFailed(uuid, "this machine has no such card")
        try:
            return question(handle)
        except self._nvml.NVMLError as error:
            is_lost = getattr(error, "value", None) == self._nvml.NVML_ERROR_GPU_IS_LOST
            raise CardsFailed(uuid, str(error), is_lost) from error


def _text(value: str | bytes) -> str:
    """Older releases of the library answer bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value

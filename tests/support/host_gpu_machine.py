"""Cards for real processes without a GPU: each process writes down what it has, one file a process.

The tiny server with ``--vram FOLDER`` does so: all of its memory awake, a residue asleep, and it fails as a
real engine does where the card is full.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.host_core import FAST, Declared
from tests.support.host_gpu import AT_ONCE
from tickover.host.cards import Gpus
from tickover.host.gpu.driver import DriverError
from tickover.host.gpu.inventory import take
from tickover.host.gpu.nvml import GIB, MIB, Card, CardProcess, Reading
from tickover.host.gpu.simulated import FLOOR_BYTES, SimulatedCheckpointer
from tickover.host.pool import ReservedPool
from tickover.host.runtimes.procfs import read_stat

CARD = Card(0, "GPU-a", "A simulated card", 80 * GIB)


def is_alive(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.is_alive


class FolderCards:
    """`Cards` over the files of a folder. most: the highest sum that was ever read."""

    def __init__(self, folder: Path, *cards: Card) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self._cards = cards or (CARD,)
        self.most = 0

    def cards(self) -> tuple[Card, ...]:
        return self._cards

    def used_bytes(self, uuid: str) -> int:
        used = FLOOR_BYTES + sum(process.used_bytes or 0 for process in self.processes(uuid))
        self.most = max(self.most, used)
        return used

    def processes(self, uuid: str) -> tuple[CardProcess, ...]:
        index = next(card.index for card in self._cards if card.uuid == uuid)
        found: list[CardProcess] = []
        for path in sorted(self.folder.glob("*.json")):
            told = json.loads(path.read_text())
            if str(index) in told["cards"].split(",") and is_alive(int(path.stem)) and told["used"]:
                found.append(CardProcess(int(path.stem), told["used"]))
        return tuple(found)

    def held(self, pid: int) -> int:
        return json.loads((self.folder / f"{pid}.json").read_text())["used"]

    def put(self, pid: int, used: int) -> None:
        path = self.folder / f"{pid}.json"
        told = json.loads(path.read_text())
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps({**told, "used": used}))
        draft.replace(path)


class FolderDriver:
    """A driver that takes a process's file to zero and gives it back; kept across hosts in the same folder.

    failing: verbs that fail, each once. It hangs on a stopped process, as the real one does.
    """

    def __init__(self, cards: FolderCards) -> None:
        self._cards = cards
        self.calls: list[str] = []
        self.failing: list[str] = []

    def _path(self, pid: int) -> Path:
        return self._cards.folder / f"{pid}.driver"

    def _called(self, verb: str, pid: int) -> dict[str, object]:
        self.calls.append(verb)
        stat = read_stat(pid)
        if stat is None or not stat.is_alive:
            raise DriverError("CUDA_ERROR_OPERATING_SYSTEM", f"there is no process {pid}")
        if stat.is_stopped:
            raise DriverError("hung", f"process {pid} is stopped")
        if verb in self.failing:
            self.failing.remove(verb)
            raise DriverError("CUDA_ERROR_UNKNOWN", f"{verb} fails as asked")
        path = self._path(pid)
        return json.loads(path.read_text()) if path.exists() else {"state": "running", "taken": 0}

    def _turn(self, pid: int, found: dict[str, object], former: str, new: str, taken: int) -> None:
        if found["state"] != former:
            raise DriverError("CUDA_ERROR_ILLEGAL_STATE", f"process {pid} is {found['state']}, not {former}")
        self._path(pid).write_text(json.dumps({"state": new, "taken": taken}))

    def state(self, pid: int) -> str:
        return str(self._called("state", pid)["state"])

    def lock(self, pid: int, timeout_ms: int) -> None:
        self._turn(pid, self._called("lock", pid), "running", "locked", 0)

    def checkpoint(self, pid: int) -> None:
        found = self._called("checkpoint", pid)
        self._turn(pid, found, "locked", "checkpointed", self._cards.held(pid))
        self._cards.put(pid, 0)

    def restore(self, pid: int) -> None:
        found = self._called("restore", pid)
        taken = int(str(found["taken"]))
        self._turn(pid, found, "checkpointed", "locked", 0)
        self._cards.put(pid, taken)

    def unlock(self, pid: int) -> None:
        self._turn(pid, self._called("unlock", pid), "locked", "running", 0)


class Machine:
    """Simulated cards, their driver, and what a host is given of them."""

    def __init__(self, folder: Path, *cards: Card, rules=AT_ONCE) -> None:
        self.cards = FolderCards(folder / "vram", *cards)
        self.driver = FolderDriver(self.cards)
        self._rules = rules

    def gpus(self) -> Gpus:
        readings = [Reading(card, FLOOR_BYTES, ()) for card in self.cards.cards()]
        checkpointer = SimulatedCheckpointer(self.driver)
        return Gpus(take(readings), self.cards, checkpointer, 512 * GIB, self._rules)

    def used_mib(self) -> int:
        """On the first card, beyond the empty card's reading."""
        return (self.cards.used_bytes(self.cards.cards()[0].uuid) - FLOOR_BYTES) // MIB

    def arguments(self, awake_gib: int = 44, residue_mib: int = 1920) -> tuple[str, ...]:
        total = self.cards.cards()[0].total_bytes - FLOOR_BYTES
        return (
            "--sleeps",
            "--vram",
            str(self.cards.folder),
            "--vram-bytes",
            str(awake_gib * GIB),
            "--residue-bytes",
            str(residue_mib * MIB),
            "--vram-total",
            str(total),
        )


def on_gpu(spec, gpu_type="fc.gpu.ada.1", cards=1):
    """A function of the tiny server, with a card."""
    gib = {"fc.gpu.ada.1": 48, "fc.gpu.ada.2": 24}[gpu_type]
    wire = {**spec.to_wire(), "gpuConfig": {"gpuType": gpu_type, "gpuMemorySize": gib * 1024 * cards}}
    return type(spec).model_validate({**wire, "memorySize": 32768})


@asynccontextmanager
async def hosting(folder, machine, *pools, settings=FAST, keep=False):
    """A pool on the machine's cards. keep: its instances go on for the next host."""
    declared = Declared(*pools)
    pool = ReservedPool(declared, folder / "host.db", folder, {}, settings=settings, gpus=machine.gpus())
    await pool.start()
    try:
        yield pool
    finally:
        await pool.stop(keep_instances=keep)

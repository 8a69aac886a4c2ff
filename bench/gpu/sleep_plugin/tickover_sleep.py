"""vLLM's sleep with the weights in host memory that the driver does not know.

Runs inside vLLM's own processes, as a plug-in of its group ``vllm.general_plugins`` (vLLM 0.26): the folder
of this file is put on PYTHONPATH, the image stays as it is. vLLM's own backend copies weights into pinned
memory at each level-1 sleep; the driver registers pinned memory anew when it restores a checkpoint (36 ms a
GiB), and blocks are rounded up to powers of two. Here they lie in ordinary memory, once, and come back by
way of a few small pinned blocks.

A lever of `bench/gpu_idle.py`, not of the product until a card has shown what it is worth:
``--env TICKOVER_SLEEP_WEIGHTS=pageable --env PYTHONPATH=bench/gpu/sleep_plugin`` (an absolute path).

Owns: the host's copy of the weights. Promises: a copy that is older than the weights on the card is made anew
before they are given up (told by sums over every 32 KiB of them); a level-2 sleep keeps no copy. Never:
changes which requests wait, what is asleep or when.

Imports nothing of tickover: the interpreter is the image's.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

VARIABLE = "TICKOVER_SLEEP_WEIGHTS"
PAGEABLE = "pageable"
WEIGHTS = "weights"
BLOCK_BYTES = 32 * 1024 * 1024  # of each thread's pinned memory
THREADS = 8  # copy between host memory and pinned blocks; one alone is slower than PCIe
SUM_BYTES = 32 * 1024


class Card(Protocol):
    """The copies between a card and this process, as the backend needs them."""

    def prepare(self) -> None:
        """Called once in each thread that copies."""

    def pinned(self, size: int) -> int:
        """The address of pinned memory of so many bytes, kept until the process ends."""

    def to_host(self, host: int, device: int, size: int) -> None: ...

    def to_card(self, device: int, host: int, size: int) -> None: ...

    def sums(self, device: int, size: int) -> bytes:
        """What tells whether its content has changed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One allocation on the card: its address there stays the same over a sleep."""

    device: int
    size: int


@dataclass(slots=True)
class Copy:
    memory: mmap.mmap
    address: int
    size: int
    sums: bytes


class Copies:
    """The host's copy of the weights: one block of ordinary memory for each allocation."""

    def __init__(self, card: Card, threads: int = THREADS, block_bytes: int = BLOCK_BYTES) -> None:
        self._card = card
        self._block_bytes = block_bytes
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._blocks: list[int] = []
        self._copies: dict[int, Copy] = {}

    @property
    def bytes(self) -> int:
        return sum(copy.size for copy in self._copies.values())

    def keep(self, pieces: Iterable[Piece]) -> int:
        """Have a copy of each of these as it is now, and of nothing else; how many bytes were copied."""
        wanted = {piece.device: piece for piece in pieces}
        self.forget(device for device in list(self._copies) if device not in wanted)
        stale: list[Piece] = []
        for piece in wanted.values():
            sums = self._card.sums(piece.device, piece.size)
            copy = self._copies.get(piece.device)
            if copy is None or copy.size != piece.size:
                self.forget([piece.device])
                self._copies[piece.device] = _memory(piece.size, sums)
            elif copy.sums == sums:
                continue
            else:
                copy.sums = sums
            stale.append(piece)
        try:
            self._each_block(stale, self._down)
        except BaseException:
            self.forget([piece.device for piece in stale])
            raise
        return sum(piece.size for piece in stale)

    def put_back(self, pieces: Iterable[Piece]) -> int:
        """The copies of these into the card again. Raises KeyError if there is none of one of them."""
        found = list(pieces)
        for piece in found:
            if self._copies[piece.device].size != piece.size:
                raise KeyError(piece.device)
        self._each_block(found, self._up)
        return sum(piece.size for piece in found)

    def forget(self, devices: Iterable[int] | None = None) -> None:
        """Give the memory of these copies back; of all by default."""
        for device in list(self._copies) if devices is None else devices:
            copy = self._copies.pop(device, None)
            if copy is not None:
                copy.memory.close()

    def close(self) -> None:
        """Give everything back."""
        self.forget()
        if self._pool is not None:
            self._pool.shutdown()

    # -- inside ----------------------------------------------------------------------------------------

    def _down(self, block: int, host: int, device: int, size: int) -> None:
        self._card.to_host(block, device, size)
        ctypes.memmove(host, block, size)

    def _up(self, block: int, host: int, device: int, size: int) -> None:
        ctypes.memmove(block, host, size)
        self._card.to_card(device, block, size)

    def _each_block(self, pieces: list[Piece], do: Callable[[int, int, int, int], None]) -> None:
        """Every block of these, by all threads, each with its own pinned memory. Raises as a copy does."""
        work = iter(list(self._cut(pieces)))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "tickover-sleep")
            self._blocks = [self._card.pinned(self._block_bytes) for _ in range(self._threads)]

        def run(block: int) -> None:
            self._card.prepare()
            # A list's iterator hands each item out once, also to several threads.
            for host, device, size in work:
                do(block, host, device, size)

        for future in [self._pool.submit(run, block) for block in self._blocks]:
            future.result()

    def _cut(self, pieces: list[Piece]) -> Iterator[tuple[int, int, int]]:
        for piece in pieces:
            host = self._copies[piece.device].address
            for start in range(0, piece.size, self._block_bytes):
                size = min(self._block_bytes, piece.size - start)
                yield host + start, piece.device + start, size


def _memory(size: int, sums: bytes) -> Copy:
    """Fresh memory of this process, in huge pages where the kernel gives them."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    window = ctypes.c_char.from_buffer(memory)
    address = ctypes.addressof(window)
    del window  # or the memory could not be closed
    return Copy(memory, address, size, sums)


class TorchCard:
    """The card of this process, by torch."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._kept: list[Any] = []

    def prepare(self) -> None:
        import torch

        torch.cuda.set_device(self._device)

    def pinned(self, size: int) -> int:
        import torch

        block = torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)
        self._kept.append(block)
        return int(block.data_ptr())

    def to_host(self, host: int, device: int, size: int) -> None:
        from vllm.device_allocator.cumem import libcudart

        libcudart.cudaMemcpy(host, device, size)

    def to_card(self, device: int, host: int, size: int) -> None:
        from vllm.device_allocator.cumem import libcudart

        libcudart.cudaMemcpy(device, host, size)

    def sums(self, device: int, size: int) -> bytes:
        import torch

        words = torch.as_tensor(_Words(device, size // 8), device=f"cuda:{self._device}")
        row = SUM_BYTES // 8
        whole = words.numel() // row * row
        found = words[:whole].view(-1, row).sum(dim=1)
        return bytes(torch.cat([found, words[whole:].sum().view(1)]).cpu().numpy().tobytes())


class _Words:
    """Memory of the card as 64-bit numbers, for torch to look at without a copy."""

    def __init__(self, device: int, count: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (count,),
            "typestr": "<i8",
            "data": (device, False),
            "version": 3,
            "strides": None,
        }


def make_backend() -> Any:
    """The backend's class. Made on demand: its base is vLLM's, and so are its allocator and log."""
    from vllm.device_allocator import get_mem_allocator_instance
    from vllm.device_allocator.sleep_mode_backend import SleepModeBackend
    from vllm.logger import init_logger

    # Below vLLM's own name, because its log shows no other's.
    log = init_logger("vllm.tickover_sleep")

    class PageableBackend(SleepModeBackend):  # type: ignore[misc]
        """Weights in ordinary memory; all else as vLLM's own backend does it."""

        def __init__(self) -> None:
            super().__init__()
            self._copies: dict[int, Copies] = {}

        def suspend(self, level: int = 1) -> None:
            began = time.monotonic()
            self._state = "SUSPENDED"
            allocator = get_mem_allocator_instance()
            copied = 0
            for device, pieces in _pieces(allocator).items():
                copies = self._copies.setdefault(device, Copies(TorchCard(device)))
                copied += copies.keep(pieces if level == 1 else ())
            saved = time.monotonic() - began
            allocator.sleep(offload_tags=())
            kept = sum(copies.bytes for copies in self._copies.values())
            log.info(
                "sleep: %.2f GiB in pageable memory, of which %.2f copied in %.3f s; given up in %.3f s",
                kept / 2**30, copied / 2**30, saved, time.monotonic() - began - saved,
            )  # fmt: skip

        def resume(self, tags: list[str] | None = None) -> None:
            began = time.monotonic()
            self._state = "RESUMING"
            allocator = get_mem_allocator_instance()
            allocator.wake_up(tags)
            mapped = time.monotonic() - began
            put = 0
            if tags is None or WEIGHTS in tags:
                for device, pieces in _pieces(allocator).items():
                    copies = self._copies.get(device)
                    put += copies.put_back(pieces) if copies is not None and copies.bytes else 0
            self._state = "RUNNING"
            log.info(
                "wake: mapped in %.3f s, %.2f GiB put back in %.3f s",
                mapped, put / 2**30, time.monotonic() - began - mapped,
            )  # fmt: skip

        @classmethod
        def preserves_communicators(cls) -> bool:
            return True

    return PageableBackend


def _pieces(allocator: Any) -> dict[int, list[Piece]]:
    """The weights' allocations by card."""
    found: dict[int, list[Piece]] = {}
    for address, data in allocator.pointer_to_data.items():
        if data.tag == WEIGHTS:
            device, size = data.handle[0], data.handle[1]
            found.setdefault(device, []).append(Piece(address, size))
    return found


def register() -> None:
    """vLLM's plug-in hook: put this backend where vLLM looks for its own, if the function asks for it.

    vLLM 0.26 lets a plug-in register a backend by name, but has no option to choose one, so it takes the
    place of the default name.
    """
    if os.environ.get(VARIABLE) != PAGEABLE:
        return
    from vllm.device_allocator.sleep_mode_backend import SleepModeBackendFactory

    SleepModeBackendFactory._registry["cumem"] = make_backend

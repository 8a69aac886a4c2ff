"""The sleep plug-in's copies, on a card that is a piece of this process' memory."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from bench.gpu.sleep_plugin.tickover_sleep import SUM_BYTES, Copies, Piece

FOLDER = Path(__file__).parents[2] / "bench/gpu/sleep_plugin"
BLOCK = 64 * 1024


class FakeCard:
    """Memory of this process in place of a card's."""

    def __init__(self) -> None:
        self.kept: list[ctypes.Array[ctypes.c_char]] = []
        self.prepared: set[int] = set()
        self.moved = 0
        self.failing = False

    def new(self, size: int, seed: int) -> Piece:
        memory = ctypes.create_string_buffer(random.Random(seed).randbytes(size), size)
        self.kept.append(memory)
        return Piece(ctypes.addressof(memory), size)

    def prepare(self) -> None:
        self.prepared.add(threading.get_ident())

    def pinned(self, size: int) -> int:
        self.kept.append(ctypes.create_string_buffer(size))
        return ctypes.addressof(self.kept[-1])

    def to_host(self, host: int, device: int, size: int) -> None:
        if self.failing:
            raise RuntimeError("CUDA error")
        assert threading.get_ident() in self.prepared
        self.moved += size
        ctypes.memmove(host, device, size)

    def to_card(self, device: int, host: int, size: int) -> None:
        ctypes.memmove(device, host, size)

    def sums(self, device: int, size: int) -> bytes:
        content = ctypes.string_at(device, size)
        return bytes(sum(content[i : i + SUM_BYTES]) % 251 for i in range(0, size, SUM_BYTES))


@pytest.fixture
def card() -> FakeCard:
    return FakeCard()


@pytest.fixture
def copies(card: FakeCard) -> Iterator[Copies]:
    made = Copies(card, threads=3, block_bytes=BLOCK)
    yield made
    made.close()


def content(piece: Piece) -> bytes:
    return ctypes.string_at(piece.device, piece.size)


def wipe(piece: Piece) -> None:
    ctypes.memset(piece.device, 0, piece.size)


def test_what_was_kept_comes_back(card: FakeCard, copies: Copies) -> None:
    pieces = [card.new(size, seed) for seed, size in enumerate((BLOCK * 5 + 4096, 4096, BLOCK))]
    before = [content(piece) for piece in pieces]
    assert copies.keep(pieces) == sum(piece.size for piece in pieces) == copies.bytes
    for piece in pieces:
        wipe(piece)
    copies.put_back(pieces)
    assert [content(piece) for piece in pieces] == before


def test_weights_that_stay_the_same_are_copied_once(card: FakeCard, copies: Copies) -> None:
    piece = card.new(BLOCK * 2, 1)
    copies.keep([piece])
    assert copies.keep([piece]) == 0
    assert card.moved == piece.size


def test_changed_weights_are_copied_anew(card: FakeCard, copies: Copies) -> None:
    first, second = card.new(BLOCK, 1), card.new(BLOCK, 2)
    copies.keep([first, second])
    ctypes.memmove(second.device + 40_000, b"\x01changed", 8)
    changed = content(second)
    assert copies.keep([first, second]) == second.size
    wipe(second)
    copies.put_back([second])
    assert content(second) == changed


def test_what_is_no_weight_any_more_is_not_kept(card: FakeCard, copies: Copies) -> None:
    first, second = card.new(BLOCK, 1), card.new(BLOCK, 2)
    copies.keep([first, second])
    copies.keep([second])
    assert copies.bytes == second.size
    with pytest.raises(KeyError):
        copies.put_back([first])


def test_a_copy_that_failed_is_no_copy(card: FakeCard, copies: Copies) -> None:
    piece = card.new(BLOCK * 2, 1)
    card.failing = True
    with pytest.raises(RuntimeError):
        copies.keep([piece])
    assert copies.bytes == 0
    card.failing = False
    assert copies.keep([piece]) == piece.size


def test_vllm_finds_it_by_its_entry_point() -> None:
    (found,) = distributions(path=[str(FOLDER)])
    (entry,) = found.entry_points.select(group="vllm.general_plugins")
    assert (entry.module, entry.attr) == ("tickover_sleep", "register")

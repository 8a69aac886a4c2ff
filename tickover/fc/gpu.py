"""The GPU catalogue: card types and the vCPU and memory that FC gives with a card.

Owns: the figures of FC's instance types. Promises: constants and pure look-ups. Never: prices (`money`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

MEMORY_STEP_GB: Final = 4


@dataclass(frozen=True, slots=True)
class GpuType:
    """A card. memory_gb_per_card: vCPU per card → lowest and highest GB of memory per card."""

    name: str
    vram_gb: int
    fp16_tflops: float
    max_cards: int
    memory_gb_per_card: Mapping[int, tuple[int, int]] = field(repr=False)

    @property
    def vram_mb(self) -> int:
        return self.vram_gb * 1024

    def cards(self, gpu_memory_mb: int) -> int | None:
        """How many whole cards have this much memory, or None if no number of cards has."""
        cards, rest = divmod(gpu_memory_mb, self.vram_mb)
        return cards if not rest and 1 <= cards <= self.max_cards else None

    def memory_range_gb(self, cpu: float, cards: int = 1) -> tuple[int, int] | None:
        """Lowest and highest GB of memory with this many vCPU in all, or None if FC has no such size."""
        per_card = self.memory_gb_per_card.get(int(cpu) // cards)
        if per_card is None or cpu % cards or cpu // cards not in self.memory_gb_per_card:
            return None
        return per_card[0] * cards, per_card[1] * cards


_ADA: Final = {4: (16, 32), 8: (32, 64), 16: (64, 120)}
_TYPES: Final = (
    GpuType("fc.gpu.tesla.1", 16, 65, 4, {4: (4, 16), 8: (8, 32), 16: (16, 64)}),
    GpuType("fc.gpu.ampere.1", 24, 125, 8, {8: (8, 32), 16: (16, 32)}),
    GpuType("fc.gpu.ada.1", 48, 119, 8, _ADA),
    GpuType("fc.gpu.ada.2", 24, 166, 8, _ADA),
    GpuType("fc.gpu.ada.3", 48, 148, 8, _ADA),
    GpuType("fc.gpu.hopper.1", 96, 148, 8, {4: (16, 32), 8: (32, 64), 16: (64, 96), 24: (96, 120)}),
    GpuType("fc.gpu.hopper.2", 141, 148, 8, {4: (16, 32), 8: (32, 64), 16: (64, 128), 24: (96, 248)}),
    GpuType("fc.gpu.blackwell.1", 32, 104.8, 8, {4: (16, 32), 8: (32, 64), 16: (64, 120), 24: (96, 184)}),
    GpuType("fc.gpu.xpu.1", 96, 123, 16, {4: (16, 48), 8: (32, 96), 12: (48, 120)}),
)

CATALOGUE: Final[Mapping[str, GpuType]] = MappingProxyType({t.name: t for t in _TYPES})
# Names of older APIs and documents.
FORMER_NAMES: Final[Mapping[str, str]] = MappingProxyType({"g1": "fc.gpu.tesla.1"})

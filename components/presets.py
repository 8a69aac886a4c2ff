"""Presets: models by a short name, with the sizes they are known to need.

Owns: the table. Promises: a preset names a folder on the NAS and never a moving version of anything.
Never: downloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .function import GpuArgs


@dataclass(frozen=True, slots=True)
class Preset:
    """folder: below the NAS folder. gguf: the file in it that the process driver serves, or empty.

    cpu, memory_gb, gpu: what one instance needs with vLLM. process_cpu, process_memory_gb: with the
    process driver.
    """

    served_name: str
    folder: str
    max_model_len: int
    cpu: float
    memory_gb: float
    gpu: GpuArgs
    gguf: str = ""
    process_cpu: float = 2
    process_memory_gb: float = 4


_ADA_48: Final = GpuArgs("fc.gpu.ada.1", 48)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "smollm2": Preset(
            served_name="smollm2",
            folder="smollm2-135m-instruct",
            gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
            max_model_len=2048,
            cpu=8,
            memory_gb=32,
            gpu=GpuArgs("fc.gpu.tesla.1", 16),
        ),
        "qwen3-8b": Preset(
            served_name="qwen3-8b",
            folder="qwen3-8b",
            max_model_len=8192,
            cpu=8,
            memory_gb=64,
            gpu=_ADA_48,
        ),
        "deepseek-r1-distill-qwen-7b": Preset(
            served_name="deepseek-r1-distill-qwen-7b",
            folder="deepseek-r1-distill-qwen-7b",
            max_model_len=8192,
            cpu=8,
            memory_gb=64,
            gpu=_ADA_48,
        ),
    }
)

"""What a function asks of the cards.

Owns: the reading of a spec as a `Need`. Promises: reads the sizes of the model's files and nothing else; what
cannot be found out is assumed high. Never: reserves anything.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickover.fc.function import Function
from tickover.fc.gpu import CATALOGUE
from tickover.host.gpu.inventory import Inventory, shortfall
from tickover.host.gpu.ledger import Need, Rules
from tickover.host.gpu.nvml import MIB
from tickover.host.nas import nas_folder

_WEIGHTS: Final = frozenset({".safetensors", ".bin", ".gguf", ".pt", ".pth"})
_MODEL_FLAGS: Final = ("--model", "serve", "-m")  # the surest first
_PYTHON: Final = re.compile(r"python[0-9.]*")


@dataclass(frozen=True, slots=True)
class Wish:
    """An instance to be placed. can_sleep, can_deep: as far as its settings go; its engine is asked later.

    keeps_weights: in host memory, while it sleeps.
    """

    instance_id: str
    function_name: str
    spec: Function
    can_sleep: bool
    can_deep: bool
    keeps_weights: bool = True


def need_of(wish: Wish, inventory: Inventory, nas: Mapping[str, Path], rules: Rules) -> Need | str | None:
    """What it needs; a sentence if this machine can never give it; None if it wants no card."""
    gpu = wish.spec.gpu_config
    if gpu is None:
        return None
    if problem := shortfall(inventory, gpu.gpu_type, gpu.gpu_memory_size):
        return problem
    kind = CATALOGUE[gpu.gpu_type]
    cards = kind.cards(gpu.gpu_memory_size) or 1
    # A card may show a little less than the catalogue's figure: then it is the whole card.
    smallest = min(p.capacity_bytes for p in inventory.places if gpu.gpu_type in p.gpu_types)
    awake = min(kind.vram_mb * MIB, smallest - rules.headroom_bytes)
    model = model_path(wish.spec)
    container = wish.spec.custom_container_config
    return Need(
        wish.instance_id,
        wish.function_name,
        (container.image if container else "") or "",
        model or "",
        awake,
        weights_bytes(wish.spec, model, nas, rules) if wish.keeps_weights else 0,
        cards,
        can_sleep=wish.can_sleep,
        # The driver's checkpoint of processes on several cards was not tried.
        can_deep=wish.can_deep and wish.can_sleep and cards == 1,
    )


def model_path(spec: Function) -> str | None:
    """What the command names as its model: `--model PATH`, `--model=PATH`, `vllm serve PATH`, `-m PATH`."""
    container = spec.custom_container_config
    words: list[str] = [*(container.entrypoint or ()), *(container.command or ())] if container else []
    found: dict[str, str] = {}
    for before, word, following in zip(["", *words], words, [*words[1:], ""], strict=False):
        flag, equals, value = word.partition("=")
        if equals and flag == "--model":
            found.setdefault(flag, value)
        elif word in _MODEL_FLAGS and following and not following.startswith("-"):
            is_module = word == "-m" and _PYTHON.fullmatch(posixpath.basename(before))
            found.setdefault("python -m" if is_module else word, following)
    return next((found[flag] for flag in _MODEL_FLAGS if flag in found), None)


def weights_bytes(spec: Function, model: str | None, nas: Mapping[str, Path], rules: Rules) -> int:
    """The size of the model's files; where they are not on a mount, what the function's memory holds."""
    if model is not None and (path := _on_nas(spec, model, nas)) is not None:
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.suffix in _WEIGHTS]
        found = sum(p.stat().st_size for p in files if p.is_file())
        if found:
            return found
    memory = (spec.memory_size or 0) * MIB
    return max(round((memory - rules.tree_bytes) / rules.pinned_factor), 0)


def _on_nas(spec: Function, model: str, nas: Mapping[str, Path]) -> Path | None:
    """A path inside the instance as a path of this machine."""
    points = (spec.nas_config.mount_points if spec.nas_config else None) or ()
    for point in points:
        target = posixpath.normpath(point.mount_dir or "/")
        folder = nas_folder(point.server_addr or "", nas)
        if isinstance(folder, Path) and (model == target or model.startswith(target + "/")):
            path = folder / model[len(target) :].lstrip("/")
            return path if path.exists() else None
    return None

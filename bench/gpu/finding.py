"""What a run needs and finds by itself: an interpreter that has vLLM, and models.

Owns: where they are looked for. Promises: what cannot be found is told with what would help, before a host is
started; models are made once and kept. Never: installs or downloads anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bench.gpu.models import DIMENSIONS, weight_bytes

ROOT: Final = Path(__file__).resolve().parents[2]
MODELS: Final = ROOT / "build/bench-models"
ROOM_BYTES: Final = 1 << 30  # beside the weights
_HAS_VLLM: Final = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"


def interpreters(path: str | None = None) -> Iterator[str]:
    """Those in question, the likeliest first: this one, that of the `vllm` on PATH, the others on PATH."""
    yield sys.executable
    if command := shutil.which("vllm", path=path):
        yield str(Path(command).resolve().parent / "python3")
    yield from (found for name in ("python3", "python") if (found := shutil.which(name, path=path)))


def python_with_vllm(variables: Mapping[str, str], candidates: Iterable[str] | None = None) -> str:
    """The first interpreter that can import vLLM with these variables. Exits with what helps."""
    everything = {**os.environ, **variables}
    tried: list[str] = []
    for python in candidates or interpreters():
        if python in tried or not os.access(python, os.X_OK):
            continue
        tried.append(python)
        if subprocess.run([python, "-c", _HAS_VLLM], env=everything, check=False).returncode == 0:
            return python
    sys.exit(
        f"error: no vLLM was found by {', '.join(tried) or 'any interpreter'}.\n"
        "Name the interpreter that has it: ARGS='--python /path/to/venv/bin/python3'\n"
        "(and ARGS='--env PYTHONPATH=…' for a folder of packages); --stand-in rehearses without it."
    )


def models(folder: Path, python: str, variables: Mapping[str, str]) -> Path:
    """A folder with both models; those that it lacks are made, with random weights. Exits without room."""
    missing = [name for name in DIMENSIONS if not (folder / name / "model.safetensors").is_file()]
    if not missing:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    wanted = sum(map(weight_bytes, missing)) + ROOM_BYTES
    if (free := shutil.disk_usage(folder).free) < wanted:
        sys.exit(
            f"error: {' and '.join(missing)} take {wanted / 2**30:.1f} GiB; "
            f"{folder} has {free / 2**30:.1f}.\n"
            "Choose another folder: ARGS='--models FOLDER' (RAM-backed storage is the fastest)."
        )
    print(f"== making {' and '.join(missing)} in {folder} ({wanted / 2**30:.0f} GiB)", file=sys.stderr)
    command = [python, "-m", "bench.gpu.models", str(folder), *missing]
    search = os.pathsep.join(filter(None, (str(ROOT), variables.get("PYTHONPATH", ""))))
    subprocess.run(command, cwd=ROOT, env={**os.environ, **variables, "PYTHONPATH": search}, check=True)
    return folder

"""What a process instance is started with: words, environment, mounts.

Owns: the reading of a spec as a local process. Promises: pure but for looking at which folders exist; the
host's own environment reaches an instance only by the list here, so no secret of the host does. Never: starts
anything.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tickover.fc.function import Function
from tickover.host.nas import nas_folder
from tickover.host.runtimes.base import LaunchPlan, RuntimeFailed
from tickover.host.runtimes.launch import MAX_SIBLINGS, nearest_parent
from tickover.host.runtimes.procfs import INSTANCE_VARIABLE

PORT_WORD = "${port}"
_PASSED = frozenset(
    {"HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "LD_LIBRARY_PATH", "PYTHONPATH", "SSL_CERT_FILE"}
)
_PASSED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "HF_")
_PASSED_NOT = ("HF_TOKEN",)


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start. moved: mount folders that the words name by their real place instead."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    mounts: tuple[tuple[str, str], ...] = ()  # (real folder, folder in the instance)
    moved: tuple[tuple[str, str], ...] = ()


def build(plan: LaunchPlan, host_env: Mapping[str, str], bin_dir: Path, *, can_mount: bool) -> Command:
    """The command of a plan. Raises RuntimeFailed for a spec that cannot be a process."""
    container = plan.spec.custom_container_config
    words = [*(container.entrypoint or ()), *(container.command or ())] if container else []
    if not words:
        raise RuntimeFailed("customContainerConfig has neither an entrypoint nor a command to run")
    folders = _folders(plan.spec, plan.nas)
    mounts = tuple((real, seen) for real, seen in folders if can_mount and is_mountable(seen))
    moved = tuple(pair for pair in folders if pair not in mounts)
    env = environment(plan, host_env, bin_dir)
    given = plan.spec.environment_variables or {}
    for name in given:
        if name != "PATH":
            env[name] = move(env[name], moved)
    argv = tuple(move(word.replace(PORT_WORD, str(plan.port)), moved) for word in words)
    return Command(argv, env, mounts, moved)


def with_argv(spec: Function, argv: Iterable[str]) -> Function:
    """The same function with another command."""
    container = spec.custom_container_config
    if container is not None:
        container = container.model_copy(update={"entrypoint": list(argv), "command": None})
    return spec.model_copy(update={"custom_container_config": container})


def environment(plan: LaunchPlan, host_env: Mapping[str, str], bin_dir: Path) -> dict[str, str]:
    """The instance's variables: a few of the host's, the function's, and the port."""
    env = {
        name: value
        for name, value in host_env.items()
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and name not in _PASSED_NOT
    }
    env["PYTHONUNBUFFERED"] = "1"  # or the last words of a crash stay in a buffer
    given = plan.spec.environment_variables or {}
    env.update({name: value.replace(PORT_WORD, str(plan.port)) for name, value in given.items()})
    path = given.get("PATH") or host_env.get("PATH", os.defpath)
    env["PATH"] = f"{bin_dir}{os.pathsep}{path}"
    if plan.gpus is not None:
        # By number, not by UUID: model servers read a number here. In the order in which NVML counts.
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        env["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu.index) for gpu in plan.gpus)
    env["PORT"] = env["FC_SERVER_PORT"] = str(plan.port)
    env[INSTANCE_VARIABLE] = plan.instance_id
    return env


def _folders(spec: Function, nas: Mapping[str, Path]) -> list[tuple[str, str]]:
    points = (spec.nas_config.mount_points if spec.nas_config else None) or ()
    folders: list[tuple[str, str]] = []
    for point in points:
        folder = nas_folder(point.server_addr or "", nas)
        if isinstance(folder, str):
            raise RuntimeFailed(folder)
        if not folder.is_dir():
            raise RuntimeFailed(f"the NAS folder {folder} of {point.server_addr} does not exist on this host")
        target = posixpath.normpath(point.mount_dir or "/")
        if not target.startswith("/") or target == "/":
            raise RuntimeFailed(f"mountDir '{point.mount_dir}' is not a folder below /")
        folders.append((str(folder.resolve()), target))
    return folders


def is_mountable(target: str) -> bool:
    """Whether a mount can be put at target without a trace on the real file system."""
    if os.path.isdir(target):
        return True
    if os.path.lexists(target):
        return False
    parent = nearest_parent(target)
    return parent != "/" and len(os.listdir(parent)) <= MAX_SIBLINGS


def move(word: str, moved: Iterable[tuple[str, str]]) -> str:
    """A word with a mount folder at its start, or after the = of a flag, named by its real place."""
    head, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    if word.startswith("-") and not equals:
        return word
    for real, seen in moved:
        if value == seen or value.startswith(seen + "/"):
            return f"{head}{equals}{real}{value[len(seen) :]}"
    return word

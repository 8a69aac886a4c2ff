"""NAS addresses on this machine: which folder a mount means.

Owns: reading ``NAME:/path`` addresses. Promises: a folder outside the named root is never meant. Never:
mounts anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any


def nas_folder(server_addr: str, roots: Mapping[str, Path]) -> Path | str:
    """The folder, or why there is none."""
    name, colon, rest = server_addr.partition(":")
    root = roots.get(name)
    if not colon or root is None:
        known = ", ".join(sorted(roots)) or "none"
        return (
            f"NAS '{name}' is not known to this host (known: {known}; "
            f"add one: tickover host start --nas {name}=DIR)"
        )
    parts = [part for part in PurePosixPath("/" + rest.lstrip("/")).parts if part != "/"]
    if ".." in parts:
        return "a NAS path must not contain '..'"
    return root.joinpath(*parts)


def nas_problems(spec: Mapping[str, Any], roots: Mapping[str, Path]) -> tuple[str, ...]:
    """What is missing of a function's mounts on this machine, and of files its command names in them."""
    container = spec.get("customContainerConfig") or {}
    if not str(container.get("image", "")).startswith("process://"):
        return ()
    problems: list[str] = []
    argv = [str(word) for key in ("entrypoint", "command") for word in container.get(key) or ()]
    for index, mount in enumerate((spec.get("nasConfig") or {}).get("mountPoints") or ()):
        path = f"nasConfig.mountPoints[{index}].serverAddr"
        folder = nas_folder(str(mount.get("serverAddr", "")), roots)
        if isinstance(folder, str):
            problems.append(f"{path}: {folder}")
        elif not folder.is_dir():
            problems.append(
                f"{path}: folder {folder} does not exist on this host; put the model there "
                "(the demo model: tickover model pull smollm2)"
            )
        else:
            problems.extend(_absent_files(argv, str(mount.get("mountDir", "")), folder))
    return tuple(problems)


def _absent_files(argv: list[str], mount_dir: str, folder: Path) -> Iterator[str]:
    prefix = mount_dir.rstrip("/") + "/"
    if prefix == "/":
        return
    for word in argv:
        named = word.partition("=")[2] if word.startswith("--") and "=" in word else word
        if not named.startswith(prefix):
            continue
        real = folder / named[len(prefix) :]
        if not real.exists():
            yield (
                f"customContainerConfig: the command names {named}, which is {real} on this host "
                "and does not exist; put it there (the demo model: tickover model pull smollm2)"
            )

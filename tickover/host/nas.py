"""NAS addresses on this machine: which folder, export or volume a mount means.

Owns: reading ``NAME:/path`` addresses. Promises: a folder outside the named root is never meant. Never:
mounts anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

VOLUME: Final = "volume"  # volume:/NAME: a named volume of the Docker engine


@dataclass(frozen=True, slots=True)
class NfsExport:
    """A folder of an NFS server, which is FC's own meaning of an address."""

    server: str
    path: str


@dataclass(frozen=True, slots=True)
class NamedVolume:
    """A volume that somebody made with `docker volume create`."""

    name: str


def nas_source(server_addr: str, roots: Mapping[str, Path]) -> Path | NfsExport | NamedVolume | str:
    """What an address means, or why it means nothing.

    A name that the host knows is a folder of its own. Of the others, one with a dot in it is a server (a
    mount target of Alibaba Cloud, or an address); one without is taken for a mistake.
    """
    name, colon, rest = server_addr.partition(":")
    parts = [part for part in PurePosixPath("/" + rest.lstrip("/")).parts if part != "/"]
    if ".." in parts:
        return "a NAS path must not contain '..'"
    if colon and name in roots:
        return roots[name].joinpath(*parts)
    if colon and name == VOLUME:
        return NamedVolume(parts[0]) if len(parts) == 1 else "a named volume is volume:/NAME"
    if colon and "." in name:
        return NfsExport(name, "/" + "/".join(parts))
    known = ", ".join(sorted(roots)) or "none"
    return (
        f"NAS '{name}' is not known to this host (known: {known}; "
        f"add one: tickover host start --nas {name}=DIR)"
    )


def nas_folder(server_addr: str, roots: Mapping[str, Path]) -> Path | str:
    """The folder of this machine, or why there is none."""
    match nas_source(server_addr, roots):
        case NfsExport(server, path):
            return (
                f"{server}:{path} is on another machine, and a process gets folders of this one: mount it "
                f"(sudo mount -t nfs -o ro {server}:/ DIR), then: tickover host start --nas {server}=DIR"
            )
        case NamedVolume(name):
            return f"{VOLUME}:/{name} is a volume of the Docker engine, which only containers can have"
        case found:
            return found


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

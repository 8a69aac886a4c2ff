"""Control groups as Linux shows them: where a process is, and what can be done to one group.

Owns: the reading of /proc/PID/cgroup and mountinfo, for v1 and v2, and the acts on the cgroups of one
instance (limit, join, freeze, kill, remove). Promises: v1 and v2 look the same to the caller; a group that
vanishes meanwhile is an answer where it can be one. Never: decides where one is made (`cgroup_ground` does).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

TOP: Final = "tickover"  # below it a folder for each host, in which each instance has its own
PROCS: Final = "cgroup.procs"
CPU_PERIOD_US: Final = 100_000
_HELD: Final = ("frozen", "freezing")
_LEAST_QUOTA_US: Final = 1000  # the kernel takes no less
_MIB: Final = 1024 * 1024
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


class Role(Enum):
    """What a cgroup is used for."""

    TREE = "tree"  # freezing, counting and ending all of an instance
    MEMORY = "memory"
    CPU = "cpu"


class Files:
    """The file calls. All but `folders` and `is_delegated` raise OSError. root: where / is (tests)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def read(self, path: Path) -> str:
        return path.read_text()

    def write(self, path: Path, text: str) -> None:
        # Never creates, and never asks to read: some of the kernel's files can only be written.
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def make(self, folder: Path) -> None:
        folder.mkdir()

    def remove(self, folder: Path) -> None:
        folder.rmdir()

    def owner(self, folder: Path) -> int:
        return folder.stat().st_uid

    def folders(self, folder: Path) -> list[Path]:
        """The cgroups right below; none if it is gone."""
        try:
            with os.scandir(folder) as found:
                return sorted(Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False))
        except OSError:
            return []

    def is_delegated(self, folder: Path) -> bool:
        """Whether systemd has given it away (Delegate=yes)."""
        for name in ("user.delegate", "trusted.delegate"):
            with contextlib.suppress(OSError):
                if os.getxattr(folder, name) == b"1":
                    return True
        return False


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted hierarchy. top: what of it is mounted. controllers: v1 only, a v2 cgroup tells its own."""

    version: int
    folder: Path
    top: str
    controllers: frozenset[str] = frozenset()

    def place(self, path: str) -> Path | None:
        """The folder of a cgroup that /proc names; None if it is outside of what is mounted."""
        if ".." in path.split("/"):
            return None  # outside of our cgroup namespace
        if self.top != "/":
            if path != self.top and not path.startswith(self.top + "/"):
                return None
            path = path[len(self.top) :]
        return self.folder / path.strip("/")


@dataclass(frozen=True, slots=True)
class Spot:
    """A cgroup: its hierarchy and its folder."""

    mount: Mount
    folder: Path

    @property
    def version(self) -> int:
        return self.mount.version


def parse_mounts(text: str, root: Path) -> tuple[Mount, ...]:
    """The cgroup hierarchies of a mountinfo; of one that is mounted twice, the later is seen."""
    found: dict[tuple[int, frozenset[str]], Mount] = {}
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if not dash or len(left) < 5 or len(right) < 3 or right[0] not in ("cgroup", "cgroup2"):
            continue
        version = 2 if right[0] == "cgroup2" else 1
        words = frozenset(right[2].split(",")) - {"rw", "ro"} if version == 1 else frozenset[str]()
        folder = root / _plain(left[4]).lstrip("/")
        found[version, words] = Mount(version, folder, _plain(left[3]), words)
    return tuple(found.values())


def _plain(word: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), word)


def spots_of(pid: int | str, files: Files) -> tuple[Spot, ...]:
    """Where a process is, in each hierarchy that can be seen. Raises OSError if it is gone."""
    mounts = parse_mounts(files.read(files.root / "proc/self/mountinfo"), files.root)
    found = []
    for line in files.read(files.root / f"proc/{pid}/cgroup").splitlines():
        number, names, path = line.split(":", 2)
        wanted = {*names.split(",")} - {""}
        for mount in mounts:
            is_it = mount.version == 2 if number == "0" and not names else bool(wanted & mount.controllers)
            if is_it and (folder := mount.place(path)) is not None:
                found.append(Spot(mount, folder))
    return tuple(found)


def is_frozen(pid: int, files: Files) -> bool:
    """Whether a process's cgroup is frozen, or about to be. Its own state (S, D) does not show it."""
    try:
        spots = spots_of(pid, files)
    except OSError:  # gone meanwhile, or no cgroups here
        return False
    return any(_freezer_word(spot, files) in _HELD for spot in spots)


def _freezer_word(spot: Spot, files: Files) -> str:
    """ "frozen", "freezing", "thawed", or nothing where it cannot be told (a root cgroup, say)."""
    with contextlib.suppress(OSError):
        if spot.version == 2:
            if "frozen 1" in files.read(spot.folder / "cgroup.events").splitlines():
                return "frozen"
            return "freezing" if files.read(spot.folder / "cgroup.freeze").strip() == "1" else "thawed"
        if "freezer" in spot.mount.controllers:
            return files.read(spot.folder / "freezer.state").strip().lower()
    return ""


# -- one instance ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """What an instance may use; None: as much as there is. cpu: cores."""

    memory_mb: int | None = None
    cpu: float | None = None


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The cgroups of one instance. Its acts raise OSError where they do not say otherwise."""

    spots: Mapping[Role, Spot]
    files: Files = field(default_factory=Files)

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(spot.folder for spot in self.spots.values()))

    def make(self, limits: Limits) -> None:
        """Make the folders and set the limits. Whatever was made is gone again if that fails."""
        try:
            for folder in self.folders:
                self.files.make(folder)
            for path, text, is_needed in self._settings(limits):
                try:
                    self.files.write(path, text)
                except FileNotFoundError:
                    if is_needed:
                        raise
        except OSError:
            self.remove()
            raise

    def join(self, pid: int) -> None:
        """Put a process into it; its children will be born there."""
        for folder in self.folders:
            self.files.write(folder / PROCS, str(pid))

    def _settings(self, limits: Limits) -> Iterator[tuple[Path, str, bool]]:
        """(file, text, whether it has to be there). Like a container, an instance gets no swap beside its
        memory; with v2 it is killed as a whole, for half a model server serves nobody."""
        memory, cpu = self.spots.get(Role.MEMORY), self.spots.get(Role.CPU)
        if memory and limits.memory_mb is not None:
            size = str(limits.memory_mb * _MIB)
            if memory.version == 2:
                yield memory.folder / "memory.max", size, True
                yield memory.folder / "memory.swap.max", "0", False
                yield memory.folder / "memory.oom.group", "1", False
            else:
                yield memory.folder / "memory.limit_in_bytes", size, True
                yield memory.folder / "memory.memsw.limit_in_bytes", size, False
        if cpu and limits.cpu is not None:
            quota = max(round(limits.cpu * CPU_PERIOD_US), _LEAST_QUOTA_US)
            if cpu.version == 2:
                yield cpu.folder / "cpu.max", f"{quota} {CPU_PERIOD_US}", True
            else:
                yield cpu.folder / "cpu.cfs_period_us", str(CPU_PERIOD_US), True
                yield cpu.folder / "cpu.cfs_quota_us", str(quota), True

    def freeze(self) -> None:
        """Begin to freeze it all; `is_frozen` tells when that is done. Raises OSError also without a tree."""
        self._set_freezer("1", "FROZEN")

    def thaw(self) -> None:
        self._set_freezer("0", "THAWED")

    def _set_freezer(self, new: str, old: str) -> None:
        tree = self.spots.get(Role.TREE)
        if tree is None:
            raise FileNotFoundError("the instance has no cgroup with a freezer")
        if tree.version == 2:
            self.files.write(tree.folder / "cgroup.freeze", new)
        else:
            self.files.write(tree.folder / "freezer.state", old)

    @property
    def is_frozen(self) -> bool:
        """Whether all of it is frozen. False if it is gone."""
        tree = self.spots.get(Role.TREE)
        return tree is not None and _freezer_word(tree, self.files) == "frozen"

    @property
    def is_held(self) -> bool:
        """Whether it is frozen or about to be: it does not go on by itself."""
        tree = self.spots.get(Role.TREE)
        return tree is not None and _freezer_word(tree, self.files) in _HELD

    def pids(self) -> list[int] | None:
        """All of its processes, those of cgroups below included; None where no cgroup can tell."""
        tree = self.spots.get(Role.TREE)
        if tree is None:
            return None
        found: set[int] = set()
        for folder in _all_below(tree.folder, self.files):
            with contextlib.suppress(OSError):  # vanished: then nobody is in it
                found.update(int(word) for word in self.files.read(folder / PROCS).split())
        return sorted(found - {0})  # 0: of another pid namespace

    def kill(self) -> None:
        """SIGKILL to all of it, at once where the kernel can (5.14). Raises nothing."""
        tree = self.spots.get(Role.TREE)
        if tree is not None and tree.version == 2:
            with contextlib.suppress(OSError):  # an older kernel, or gone
                self.files.write(tree.folder / "cgroup.kill", "1")
                return
        for pid in self.pids() or ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> bool:
        """Whether nothing of it is left. One with processes in it stays. Raises nothing."""
        left = [folder for folder in self.folders if not remove(folder, self.files)]
        return not left

    def outgrown(self) -> int | None:
        """The limit in MB that the kernel has killed one of its processes for; None if it has not."""
        memory = self.spots.get(Role.MEMORY)
        if memory is None:
            return None
        counts, limit = ("memory.events", "memory.max")
        if memory.version == 1:
            counts, limit = "memory.oom_control", "memory.limit_in_bytes"
        with contextlib.suppress(OSError, ValueError):  # gone, or without a limit ("max")
            words = dict(line.split() for line in self.files.read(memory.folder / counts).splitlines())
            if memory.version == 1 and "oom_kill" not in words:  # kernels before 4.13 count refusals only
                words["oom_kill"] = self.files.read(memory.folder / "memory.failcnt").strip()
            if int(words.get("oom_kill", 0)) > 0:
                return int(self.files.read(memory.folder / limit)) // _MIB
        return None


def _all_below(top: Path, files: Files) -> list[Path]:
    """A cgroup and all below it, parents first."""
    found = [top]
    for folder in found:
        found.extend(files.folders(folder))
    return found


def remove(top: Path, files: Files) -> bool:
    """Remove a cgroup and those below it; whether none is left. One with processes in it stays."""
    is_gone = True
    for folder in reversed(_all_below(top, files)):
        try:
            files.remove(folder)
        except FileNotFoundError:
            continue
        except OSError:
            is_gone = False
    return is_gone


def cgroup_of(pid: int, files: Files) -> Cgroup | None:
    """The cgroups that an instance's first process was started in, by whatever host; None if in none."""
    spots: dict[Role, Spot] = {}
    try:
        found, ours = spots_of(pid, files), [spot.folder for spot in spots_of("self", files)]
    except OSError:
        return None
    for spot in sorted(found, key=lambda spot: -spot.version):
        folder = next((f for f in (spot.folder, *spot.folder.parents) if f.parent.parent.name == TOP), None)
        if folder is None or not folder.is_relative_to(spot.mount.folder):
            continue
        if any(own.is_relative_to(folder) for own in ours):
            continue  # this host is an instance of another itself: it must not freeze what it is in
        for role in _roles(Spot(spot.mount, folder), files):
            spots.setdefault(role, Spot(spot.mount, folder))
    return Cgroup(spots, files) if spots else None


def _roles(spot: Spot, files: Files) -> Collection[Role]:
    if spot.version == 1:
        return [role for role, name in V1_CONTROLLER.items() if name in spot.mount.controllers]
    marks = {Role.TREE: "cgroup.freeze", Role.MEMORY: "memory.max", Role.CPU: "cpu.max"}
    found = []
    for role, name in marks.items():
        with contextlib.suppress(OSError):
            files.read(spot.folder / name)
            found.append(role)
    return found


V1_CONTROLLER: Final[Mapping[Role, str]] = {Role.TREE: "freezer", Role.MEMORY: "memory", Role.CPU: "cpu"}

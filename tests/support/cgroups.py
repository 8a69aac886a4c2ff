"""Cgroups for tests: a kernel made of files in a folder, and ways to look at the real one.

Owns: `a_runtime`, and `FakeKernel`, which does with a folder what Linux does with a cgroup hierarchy as far
as tickover relies on it: control files come and go with their folder, a controller has to be passed on from
above, and not from a v2 cgroup with processes in it; a cgroup with processes or children is not removed.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tickover.host.runtimes.cgroup import Files, Role
from tickover.host.runtimes.cgroup_ground import OFF, survey, tidy
from tickover.host.runtimes.cgroup_keeper import CgroupKeeper
from tickover.host.runtimes.process import ProcessRuntime

_V2_CONTROLLER_FILES = {
    "memory": {
        "memory.max": "max\n",
        "memory.swap.max": "max\n",
        "memory.oom.group": "0\n",
        "memory.events": "low 0\nmax 0\noom_kill 0\n",
    },
    "cpu": {"cpu.max": "max 100000\n"},
}
_V1_FILES = {
    "freezer": {"freezer.state": "THAWED\n"},
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.failcnt": "0\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    },
    "cpu": {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"},
}


class FakeKernel(Files):
    """v1, controllers: the hierarchies there are. own: the cgroup that the host is in, the same in all."""

    def __init__(
        self, root: Path, *, v1: tuple[str, ...] = (), v2: tuple[str, ...] | None = None, own: str = "/"
    ) -> None:
        super().__init__(root)
        self.read_only = False
        self.delegated: set[Path] = set()
        self.uids: dict[Path, int] = {}
        self.top = root / "sys/fs/cgroup"
        (root / "proc/self").mkdir(parents=True)
        lines = ["22 27 0:21 / /proc rw,relatime - proc proc rw"]
        if v2 is not None:
            self._mount(self._v2, " ".join(v2))
            lines.append(f"41 31 0:38 / /{self._v2.relative_to(root)} rw - cgroup2 cgroup2 rw")
        for name in v1:
            self._mount(self.top / name)
            lines.append(f"32 31 0:29 / /sys/fs/cgroup/{name} rw,nosuid - cgroup cgroup rw,{name}")
        (root / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")
        self.v1 = v1
        for folder in (self._v2, *(self.top / name for name in v1)):
            place = folder
            for part in own.strip("/").split("/"):
                place = place / part
                if part and folder.exists() and not place.exists():
                    self.make(place)
        self.put("self", own)

    @property
    def _v2(self) -> Path:
        return self.top / "unified"

    def _mount(self, folder: Path, controllers: str = "") -> None:
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text("")
        if folder == self._v2:
            (folder / "cgroup.controllers").write_text(controllers + "\n")
            (folder / "cgroup.subtree_control").write_text("")

    def put(self, pid: int | str, path: str) -> None:
        """The process is in this cgroup of each hierarchy."""
        lines = [f"{n}:{name}:{path}" for n, name in enumerate(self.v1, 1)]
        (self.root / f"proc/{pid}").mkdir(parents=True, exist_ok=True)
        text = "\n".join(["9:name=systemd:/", *lines, f"0::{path}"]) + "\n"
        (self.root / f"proc/{pid}/cgroup").write_text(text)
        if pid != "self":
            for folder in (self._v2, *(self.top / name for name in self.v1)):
                procs = folder / path.strip("/") / "cgroup.procs"
                if procs.exists():
                    procs.write_text(procs.read_text() + f"{pid}\n")

    def pass_on(self, path: str, *names: str) -> None:
        """What a service manager has enabled for the children of a v2 cgroup."""
        folder = self._v2 / path.strip("/")
        (folder / "cgroup.subtree_control").write_text(" ".join(names) + "\n")

    def make(self, folder: Path) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))
        folder.mkdir()
        if folder.is_relative_to(self._v2):
            given = (folder.parent / "cgroup.subtree_control").read_text().split()
            files = {
                "cgroup.controllers": " ".join(given) + "\n",
                "cgroup.subtree_control": "",
                "cgroup.events": "populated 0\nfrozen 0\n",
                "cgroup.freeze": "0\n",
                "cgroup.kill": "",
            }
            for name in given:
                files |= _V2_CONTROLLER_FILES.get(name, {})
        else:
            files = dict(_V1_FILES.get(folder.relative_to(self.top).parts[0], {}))
        for name, text in {**files, "cgroup.procs": ""}.items():
            (folder / name).write_text(text)

    def remove(self, folder: Path) -> None:
        if (folder / "cgroup.procs").read_text() or self.folders(folder):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(folder))
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    def owner(self, folder: Path) -> int:
        return self.uids.get(folder, 0)

    def is_delegated(self, folder: Path) -> bool:
        return folder in self.delegated

    def write(self, path: Path, text: str) -> None:
        folder, name = path.parent, path.name
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        if name == "cgroup.subtree_control":
            self._pass(folder, path, text.removeprefix("+"))
        elif name == "cgroup.procs":
            self._move(folder, text)
        else:
            super().write(path, text)
            if name == "cgroup.freeze":
                (folder / "cgroup.events").write_text(f"populated 1\nfrozen {text}\n")

    def _pass(self, folder: Path, path: Path, name: str) -> None:
        if folder != self._v2 and (folder / "cgroup.procs").read_text():
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        if name not in (folder / "cgroup.controllers").read_text().split():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        path.write_text(path.read_text() + f" {name}")
        for child in self.folders(folder):
            control = child / "cgroup.controllers"
            control.write_text(control.read_text().strip() + f" {name}\n")
            for file, text in _V2_CONTROLLER_FILES.get(name, {}).items():
                (child / file).write_text(text)

    def move_away(self, pid: int, mount: Path | None = None) -> None:
        """The process has ended, or is no more in any cgroup of this mount."""
        for procs in (mount or self.top).rglob("cgroup.procs"):
            left = [line for line in procs.read_text().split() if line != str(pid)]
            procs.write_text("".join(f"{line}\n" for line in left))

    def _move(self, folder: Path, pid: str) -> None:
        self.move_away(int(pid), self.top / folder.relative_to(self.top).parts[0])
        target = folder / "cgroup.procs"
        target.write_text(target.read_text() + f"{pid}\n")


class OnlyV1(Files):
    """This machine as if it had no cgroup v2."""

    def read(self, path: Path) -> str:
        text = super().read(path)
        if path.name != "mountinfo":
            return text
        return "\n".join(line for line in text.splitlines() if " - cgroup2 " not in line)


def a_runtime(kind: str, folder: Path, role: Role = Role.TREE) -> ProcessRuntime:
    """A process runtime that freezes by "signals", "cgroup" or "cgroup v1"; skips where this machine has no
    such cgroup to write to."""
    runtime = ProcessRuntime(str(folder), OFF if kind == "signals" else "")
    if kind == "cgroup v1":
        runtime._cgroups = CgroupKeeper(str(folder), "", OnlyV1())
    if kind != "signals":
        keeper = runtime._cgroups
        grounds = survey(keeper._files, "", str(folder), os.geteuid())
        tidy(grounds.homes, keeper._files)
        if grounds.by_role[role].home is None:
            pytest.skip(f"no {kind} for {role.value} here: {grounds.by_role[role].reason}")
    return runtime

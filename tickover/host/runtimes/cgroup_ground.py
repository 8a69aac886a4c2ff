"""Where this host may make cgroups, and what for.

Owns: the choice of the folder for each use, its preparation, and the reasons where there is none. Promises:
a cgroup that another manager owns is left alone unless the user names it; what cannot be had is a reason, not
an error. Never: touches the cgroups of an instance (`cgroup` does), moves a process that it may not.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tickover.host.runtimes.cgroup import (
    PROCS,
    TOP,
    V1_CONTROLLER,
    Cgroup,
    Files,
    Mount,
    Role,
    Spot,
    spots_of,
)

VARIABLE: Final = "TICKOVER_CGROUP"
OFF: Final = "off"
HINT: Final = (
    "systemd-run --user --scope -p Delegate=yes tickover host start"
    f"    # or name a cgroup that is yours: {VARIABLE}=/PATH"
)
_LEAF: Final = "tickover.host"  # v2 passes no controller on from a cgroup that has processes itself
_CONTROL: Final = "cgroup.subtree_control"
_ID_LENGTH: Final = 12
_TRIES: Final = 3
_SIGNALS: Final = "instances are frozen by SIGSTOP"


def host_id(owner: str) -> str:
    """The name of a host's folder: of its data folder, so that the next host of it finds the same."""
    return hashlib.sha256(owner.encode()).hexdigest()[:_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Ground:
    """The folder for one use, or why there is none."""

    home: Spot | None = None  # instances are made right in it
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grounds:
    """The folders of a host."""

    by_role: Mapping[Role, Ground]
    files: Files = field(default_factory=Files)

    @property
    def homes(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(g.home.folder for g in self.by_role.values() if g.home))

    def cgroup(self, instance_id: str) -> Cgroup | None:
        """The cgroups of an instance of this host, whether they exist or not; None if it can have none."""
        spots = {
            role: Spot(ground.home.mount, ground.home.folder / instance_id)
            for role, ground in self.by_role.items()
            if ground.home
        }
        return Cgroup(spots, self.files) if spots else None

    def unclaimed(self, claimed: Collection[Path]) -> Iterator[Path]:
        """The folders of instances that none of the claimed ones is."""
        for home in self.homes:
            yield from (folder for folder in self.files.folders(home) if folder not in claimed)

    def describe(self) -> str:
        """A phrase for `host status`."""
        reasons = {ground.reason for ground in self.by_role.values()}
        if len(reasons) == 1 and "" not in reasons:
            return f"{_SIGNALS}; cpu and memorySize are not enforced ({reasons.pop()})"
        tree = self.by_role[Role.TREE]
        words = [
            f"instances are frozen and ended by cgroup v{tree.home.version}"
            if tree.home
            else f"{_SIGNALS} ({tree.reason})"
        ]
        for role, name in ((Role.CPU, "cpu"), (Role.MEMORY, "memorySize")):
            ground = self.by_role[role]
            words.append(
                f"{name} is enforced" if ground.home else f"{name} is not enforced ({ground.reason})"
            )
        return "; ".join(words)


def survey(
    files: Files, setting: str, owner: str, uid: int, pid: int | str = "self", *, is_trial: bool = False
) -> Grounds:
    """Look at what this machine allows, and prepare the folders. Raises nothing.

    setting: "" chooses, "off" uses none, "/PATH" names the cgroup to work in, in every hierarchy. pid: the
    host. is_trial: no process is moved; where that would be needed and allowed, it is taken as done.
    """
    if reason := _unwanted(setting, owner):
        return Grounds({role: Ground(reason=reason) for role in Role}, files)
    try:
        spots = spots_of(pid, files)
    except OSError as error:
        reason = f"its cgroup cannot be read: {error.strerror}"
        return Grounds({role: Ground(reason=reason) for role in Role}, files)
    look = _Survey(files, setting, owner, uid, is_trial)
    return Grounds({role: look.ground(role, spots) for role in Role}, files)


def _unwanted(setting: str, owner: str) -> str:
    if setting == OFF:
        return f"{VARIABLE} is off"
    if setting and (not setting.startswith("/") or ".." in setting.split("/")):
        return f"{VARIABLE} is neither 'off' nor the /PATH of a cgroup: '{setting}'"
    return "" if owner else "this host has no name"


class _Survey:
    """One look."""

    def __init__(self, files: Files, setting: str, owner: str, uid: int, is_trial: bool) -> None:
        self._files, self._setting, self._uid, self._is_trial = files, setting, uid, is_trial
        self._below = Path(TOP, host_id(owner))

    def ground(self, role: Role, spots: Collection[Spot]) -> Ground:
        """The v2 hierarchy if it can, else the v1 one; the reason of the last that could not."""
        controller = V1_CONTROLLER[role]
        reason = f"no hierarchy with {controller} is mounted"
        for spot in sorted(spots, key=lambda spot: -spot.version):
            if spot.version == 1 and controller not in spot.mount.controllers:
                continue
            base, refusal = self._base(spot)
            if base is not None and spot.version == 2 and role is not Role.TREE:
                refusal = self._has_no(base, controller)
                if refusal and any(controller in other.mount.controllers for other in spots):
                    continue  # a v1 hierarchy has it
            home, refusal = (
                self._prepared(spot.mount, base, role) if not refusal and base else (None, refusal)
            )
            if home is not None:
                return Ground(Spot(spot.mount, home))
            reason = refusal
        return Ground(reason=reason)

    def _base(self, spot: Spot) -> tuple[Path | None, str]:
        """The cgroup that is ours to divide. Each cgroup has one manager: without a sign that it is us, the
        one that put the host there would be surprised."""
        if self._setting:
            return spot.mount.folder / self._setting.strip("/"), ""
        own, files = spot.folder, self._files
        for folder in (own, own.parent):  # the parent: a service with DelegateSubgroup= starts in a leaf
            if folder.is_relative_to(spot.mount.folder) and files.is_delegated(folder):
                return folder, ""
        try:
            if own == spot.mount.folder or self._uid == files.owner(own) != 0:
                return own, ""
        except OSError as error:
            return None, f"{own} cannot be used: {error.strerror}"
        return None, f"{own} belongs to another manager and is not delegated to this host"

    def _has_no(self, base: Path, controller: str) -> str:
        try:
            self._make_base(base)
            if controller in self._files.read(base / "cgroup.controllers").split():
                return ""
        except OSError as error:
            return _unusable(base, error)
        return f"{base} has no {controller} controller"

    def _prepared(self, mount: Mount, base: Path, role: Role) -> tuple[Path | None, str]:
        home, files = base / self._below, self._files
        try:
            self._make_base(base)
            _make_home(home, files)
            if mount.version == 2 and role is not Role.TREE:
                self._pass_down(base, home, V1_CONTROLLER[role])
            elif mount.version == 2:
                files.read(home / "cgroup.freeze")
        except OSError as error:
            if error.errno == errno.EBUSY:
                return None, f"{base} cannot pass its controllers on while others' processes are in it"
            if error.errno == errno.ENOENT and role is Role.TREE:
                return None, "this kernel has no cgroup v2 freezer (5.2 and later have one)"
            return None, _unusable(home, error)
        return home, ""

    def _make_base(self, base: Path) -> None:
        if self._setting:
            with contextlib.suppress(FileExistsError):
                self._files.make(base)

    def _pass_down(self, base: Path, home: Path, controller: str) -> None:
        """Make the controller work in the children of home. Raises OSError."""
        files = self._files
        for folder in (base, home.parent, home):
            control = folder / _CONTROL
            if controller in files.read(control).split():
                continue
            try:
                files.write(control, f"+{controller}")
            except OSError as error:
                if error.errno != errno.EBUSY or folder != base or not self._may_move_out(base):
                    raise
                if self._is_trial:
                    return
                self._move_out(base)
                files.write(control, f"+{controller}")

    def _may_move_out(self, base: Path) -> bool:
        """Whether all processes that are right in it are ours to move."""
        if self._setting or self._files.is_delegated(base):
            return True
        return self._files.read(base / PROCS).split() == [str(os.getpid())]

    def _move_out(self, base: Path) -> None:
        """Put the processes of a cgroup into a leaf of it. Raises OSError."""
        leaf = base / _LEAF
        with contextlib.suppress(FileExistsError):
            self._files.make(leaf)
        for pid in self._files.read(base / PROCS).split():
            with contextlib.suppress(ProcessLookupError):  # ended meanwhile
                self._files.write(leaf / PROCS, pid)


def tidy(homes: Collection[Path], files: Files) -> None:
    """Remove the homes that nobody is in, and what they are in. Raises nothing."""
    for home in homes:
        for folder in (home, home.parent):
            with contextlib.suppress(OSError):  # somebody is in it, or it is gone
                files.remove(folder)


def _make_home(home: Path, files: Files) -> None:
    """Raises OSError. Another host may remove the empty folder above in the same moment: then once more."""
    for left in reversed(range(_TRIES)):
        try:
            for folder in (home.parent, home):
                with contextlib.suppress(FileExistsError):
                    files.make(folder)
            return
        except FileNotFoundError:
            if not left:
                raise


def _unusable(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be used: {error.strerror or error}"

"""Processes of this machine, as /proc tells.

Owns: the identity of a process and who belongs to an instance or carries a mark. Promises: a process id that
was used again is not taken for the former process. Never: decides what is signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tickover.host.clock import boot_id

INSTANCE_VARIABLE = "TICKOVER_INSTANCE_ID"
_DEAD = frozenset("ZXx")
_STOPPED = frozenset("Tt")


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The fields of /proc/PID/stat that are used here."""

    pid: int
    state: str
    group: int
    session: int
    start_ticks: int
    parent: int

    @property
    def is_alive(self) -> bool:
        return self.state not in _DEAD

    @property
    def is_stopped(self) -> bool:
        return self.state in _STOPPED


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for as long as the machine runs: its id alone may be used again."""

    pid: int
    start_ticks: int
    boot_id: str

    def __str__(self) -> str:
        return f"{self.pid}:{self.start_ticks}:{self.boot_id}"


def parse_identity(text: str) -> Identity:
    """The identity that `str` wrote. Raises ValueError."""
    pid, ticks, boot = text.split(":")
    return Identity(int(pid), int(ticks), boot)


def read_stat(pid: int) -> ProcessStat | None:
    """None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold blanks and brackets
    return ProcessStat(pid, fields[0], int(fields[2]), int(fields[3]), int(fields[19]), int(fields[1]))


def identify(pid: int) -> Identity | None:
    stat = read_stat(pid)
    return Identity(pid, stat.start_ticks, _boot_id()) if stat else None


def find(identity: Identity) -> ProcessStat | None:
    """The very process, dead but unreaped ones included; None if it is gone."""
    if identity.boot_id != _boot_id():
        return None
    stat = read_stat(identity.pid)
    return stat if stat and stat.start_ticks == identity.start_ticks else None


def members(identity: Identity, instance_id: str) -> list[ProcessStat]:
    """The living processes of an instance: its session, and those that left it but carry its mark."""
    if identity.boot_id != _boot_id():
        return []
    leader = read_stat(identity.pid)
    is_reused = leader is not None and leader.start_ticks != identity.start_ticks
    mark = f"{INSTANCE_VARIABLE}={instance_id}".encode()
    found: list[ProcessStat] = []
    for pid in _pids():
        stat = read_stat(pid)
        if stat is None or not stat.is_alive or pid == os.getpid():
            continue
        if (stat.session == identity.pid and not is_reused) or _is_marked(pid, mark):
            found.append(stat)
    return found


def marked(instance_id: str) -> list[int]:
    """The processes that carry the mark of an instance, in whatever namespace they count themselves."""
    mark = f"{INSTANCE_VARIABLE}={instance_id}".encode()
    return [pid for pid in _pids() if pid != os.getpid() and _is_marked(pid, mark)]


def carrying(variable: str, value: str) -> list[ProcessStat]:
    """The living processes with this value of a variable, and all below them, whatever those carry."""
    mark = f"{variable}={value}".encode()
    living = {stat.pid: stat for pid in _pids() if (stat := read_stat(pid)) and stat.is_alive}
    own = os.getpid()
    return below({pid for pid in living if pid != own and _is_marked(pid, mark)}, living)


def below(roots: Set[int], living: Mapping[int, ProcessStat]) -> list[ProcessStat]:
    """The processes of these ids and their descendants, each once."""
    children: dict[int, list[int]] = {}
    for stat in living.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    left, found = sorted(roots, reverse=True), dict[int, ProcessStat]()
    while left:
        pid = left.pop()
        if pid not in found:
            found[pid] = living[pid]
            left.extend(children.get(pid, ()))
    return list(found.values())


def kill(process: ProcessStat) -> None:
    """End this very process. Raises PermissionError; one that is gone is fine."""
    try:
        held = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        now = read_stat(process.pid)
        if now is not None and now.start_ticks == process.start_ticks:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(held, signal.SIGKILL)
    finally:
        os.close(held)


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile, or another user's: not one of ours
        return False


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


@cache
def _boot_id() -> str:
    return boot_id()

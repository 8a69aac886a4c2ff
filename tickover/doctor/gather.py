"""Looking at this machine for `tickover doctor`.

Owns: how each fact is found out, and how long that may take. Promises: ends within its limits whatever hangs,
for what may hang in a driver is asked in a process of its own, and all else in threads that nobody waits for;
leaves nothing behind; works without a host and outside of a project. Never: judges, starts or stops a host.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from tickover.doctor.facts import (
    CardsFact,
    CgroupFact,
    CudaFact,
    DriverFact,
    EngineFact,
    Facts,
    HomeFact,
    HostFact,
    MountFact,
    Need,
    NfsFact,
    PackagesFact,
    PortFact,
    PythonFact,
    Silent,
    Trial,
)
from tickover.errors import TickoverError
from tickover.host.client import read_host_file
from tickover.host.daemon import host_holder
from tickover.host.ports import DEFAULT_PORT, port_holder, remembered_port
from tickover.host.runtimes.base import RuntimeFailed
from tickover.host.runtimes.cgroup import Files
from tickover.host.runtimes.cgroup_ground import VARIABLE, survey, tidy
from tickover.host.runtimes.docker_config import engine_address
from tickover.host.runtimes.docker_engine import Engine
from tickover.host.runtimes.process import IMAGE_SCHEME, try_mount
from tickover.host.server import host_version
from tickover.paths import host_dir

QUICK_SECONDS: Final = 5.0
PROBE_SECONDS: Final = 60.0  # of a driver: a card that was asleep takes seconds, a trial three more
_ENGINE_SECONDS: Final = 4.0
_READY_SECONDS: Final = 2.0  # of a host that is just starting
_SHOWN_PACKAGES: Final = ("pulumi", "pydantic", "uvloop", "aiodocker", "nvidia-ml-py")
_DRIVER_VERSION: Final = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")
_NFS_HELPERS: Final = ("/sbin/mount.nfs", "/usr/sbin/mount.nfs")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Place:
    """What is looked at. home: the data home, None outside of a project."""

    home: Path | None
    env: Mapping[str, str]
    named: frozenset[Need] = frozenset()


class _Look:
    """One question in a thread of its own."""

    def __init__(self, call: Callable[[], Any], seconds: float) -> None:
        self._call, self._seconds = call, seconds
        self._found: Any = Silent(f"no answer within {seconds:g} s")
        self._began = time.monotonic()
        # A daemon: one that hangs in the kernel must not keep the command from ending.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._call()
        except (OSError, ValueError, KeyError, sqlite3.Error, RuntimeFailed) as error:
            self._found = Silent(f"{error}" or type(error).__name__)
        except TickoverError as error:
            self._found = Silent(error.detail or error.summary)

    def found(self) -> Any:
        self._thread.join(max(0.0, self._began + self._seconds - time.monotonic()))
        return self._found


def gather(place: Place) -> Facts:
    """All facts, side by side."""
    looks = {
        "host": _Look(lambda: look_at_host(place.home), QUICK_SECONDS),
        "needs": _Look(lambda: place.named | declared_needs(place.home), QUICK_SECONDS),
        "packages": _Look(look_at_packages, QUICK_SECONDS),
        "home": _Look(lambda: look_at_home(place.home), QUICK_SECONDS),
        "port": _Look(lambda: look_at_port(place.home), QUICK_SECONDS),
        "driver": _Look(look_at_driver, QUICK_SECONDS),
        "cuda": _Look(lambda: read_cuda(ask("cuda")), PROBE_SECONDS + QUICK_SECONDS),
        "cards": _Look(lambda: read_cards(ask("cards")), PROBE_SECONDS + QUICK_SECONDS),
        "cgroups": _Look(lambda: look_at_cgroups(place), QUICK_SECONDS),
        "mounts": _Look(lambda: MountFact(try_mount()), QUICK_SECONDS),
        "engine": _Look(lambda: asyncio.run(look_at_engine(place.env)), QUICK_SECONDS),
        "nfs": _Look(look_at_nfs, QUICK_SECONDS),
    }
    python = PythonFact((sys.version_info[0], sys.version_info[1], sys.version_info[2]), sys.executable)
    return Facts(python=python, **{name: look.found() for name, look in looks.items()})


# -- tickover itself ---------------------------------------------------------------------------------------


def look_at_host(home: Path | None) -> HostFact | Silent:
    pid = host_holder(home) if home else None
    if home is None or pid is None:
        return HostFact()
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        facts = read_host_file(home)
        if facts is not None and facts.get("pid") == pid:
            url = str(facts["url"])
            host, _, number = url.removeprefix("http://").rpartition(":")
            socket.create_connection((host.strip("[]"), int(number)), _READY_SECONDS).close()
            return HostFact(pid, url, str(facts["version"]))
        time.sleep(0.05)
    return Silent(f"process {pid} holds {host_dir(home)} and does not answer")


def declared_needs(home: Path | None) -> frozenset[Need]:
    """What the functions need that are declared to this project's host, whether it runs or not."""
    database = host_dir(home) / "host.db" if home else None
    if database is None or not database.is_file():
        return frozenset()
    uri = f"{database.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=1)
    try:
        rows = connection.execute(
            "SELECT body FROM declared WHERE kind IN ('function', 'version')"
        ).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # made a moment ago
            return frozenset()
        raise
    finally:
        connection.close()
    return needs_of(json.loads(body) for (body,) in rows)


def needs_of(functions: Any) -> frozenset[Need]:
    """What functions need, as FC writes them."""
    found: set[Need] = set()
    for wire in functions:
        image = str((wire.get("customContainerConfig") or {}).get("image") or "")
        if image:
            found.add(Need.PROCESS if image.startswith(IMAGE_SCHEME) else Need.CONTAINER)
        if wire.get("gpuConfig"):
            found.add(Need.GPU)
    return frozenset(found)


def look_at_packages() -> PackagesFact:
    try:
        required = importlib.metadata.requires("tickover") or []
    except importlib.metadata.PackageNotFoundError:
        required = []  # run from the source tree: what is imported is there
    names = [
        match[0] for line in required if "extra ==" not in line and (match := re.match(r"[\w.-]+", line))
    ]
    missing: list[str] = []
    versions: dict[str, str] = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    shown: dict[str, str] = {name: versions[name] for name in _SHOWN_PACKAGES if name in versions}
    return PackagesFact(host_version(), shown, tuple(missing))


def look_at_home(home: Path | None) -> HomeFact:
    if home is None:
        return HomeFact("")
    there = next(folder for folder in (home, *home.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"x" * 4096)
            probe.flush()
    except OSError as error:
        return HomeFact(str(home), f"it cannot be written: {error.strerror}", free)
    return HomeFact(str(home), "", free)


def look_at_port(home: Path | None) -> PortFact:
    wanted = (remembered_port(host_dir(home) / "port") if home else None) or DEFAULT_PORT
    pid = host_holder(home) if home else None
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", wanted))
            probe.listen(1)
        return PortFact(wanted, is_free=True)
    except OSError:
        holder = port_holder(wanted)
        return PortFact(wanted, False, holder, pid is not None and holder.startswith(f"process {pid} "))


# -- this machine ------------------------------------------------------------------------------------------


def look_at_driver(root: Path = Path("/")) -> DriverFact:
    try:
        text = (root / "proc/driver/nvidia/version").read_text(errors="replace")
    except FileNotFoundError:
        return DriverFact("")
    found = _DRIVER_VERSION.search(text.partition("\n")[0])
    return DriverFact(found[1] if found else "")


def look_at_cgroups(place: Place) -> CgroupFact:
    """What the running host may do, else what one started here might."""
    home = host_dir(place.home) if place.home else Path("doctor")
    pid: int | str = (host_holder(place.home) if place.home else None) or "self"
    setting = place.env.get(VARIABLE, "")
    if pid != "self":
        setting = _variable_of(int(pid), VARIABLE)
    files = Files()
    grounds = survey(files, setting, str(home.resolve()), os.geteuid(), pid, is_trial=True)
    tidy(grounds.homes, files)
    return CgroupFact(
        {role.value: ground.home.version for role, ground in grounds.by_role.items() if ground.home},
        {role.value: ground.reason for role, ground in grounds.by_role.items()},
    )


def _variable_of(pid: int, name: str) -> str:
    """Raises OSError."""
    start = f"{name}=".encode()
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((word[len(start) :].decode() for word in words if word.startswith(start)), "")


async def look_at_engine(env: Mapping[str, str]) -> EngineFact:
    address = engine_address(env)
    engine = Engine(address, _ENGINE_SECONDS)
    try:
        return EngineFact(address, (await engine.facts()).version)
    except RuntimeFailed as error:
        return EngineFact(address, "", error.reason)
    finally:
        await engine.close()


def look_at_nfs() -> NfsFact:
    found = shutil.which("mount.nfs") or next((path for path in _NFS_HELPERS if os.path.exists(path)), "")
    is_loaded = any(
        line.split()[-1:] == ["nfs"] for line in Path("/proc/filesystems").read_text().splitlines()
    )
    modules = Path("/lib/modules", os.uname().release, "kernel/fs/nfs")
    return NfsFact(found, is_loaded or modules.is_dir())


# -- drivers -----------------------------------------------------------------------------------------------


def ask(
    question: str, seconds: float = PROBE_SECONDS, command: Collection[str] = ()
) -> tuple[dict[str, Any], bool]:
    """What a probe process said, and whether it came to its end. Raises OSError, ValueError."""
    words = [*(command or (sys.executable, "-P", "-m", "tickover.doctor.probe")), question]
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            is_whole = process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            is_whole = False
            _end(process)
        said.seek(0)
        found: dict[str, Any] = {}
        for line in said.read().decode(errors="replace").splitlines():
            found |= json.loads(line)
    return found, is_whole


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a probe and its children. One that hangs in the kernel is left: it ends when the kernel lets it."""
    os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.returncode = -signal.SIGKILL


def read_cuda(answer: tuple[dict[str, Any], bool]) -> CudaFact | Silent:
    found, is_whole = answer
    if not found:
        return Silent("the probe ended or hung before it said anything")
    words = dict(found)
    trial = words.pop("trial", None)
    if trial is not None:
        return CudaFact(**words, trial=Trial(trial["seconds"], trial["trouble"]))
    if not is_whole and words.get("has_checkpoint") and not words.get("trouble"):
        return CudaFact(**words, trial=Silent("the trial hung or was ended"))
    return CudaFact(**words)


def read_cards(answer: tuple[dict[str, Any], bool]) -> CardsFact | Silent:
    found, _ = answer
    if not found:
        return Silent("the probe ended or hung before it said anything")
    return CardsFact(tuple(found["lines"]), found["reason"])

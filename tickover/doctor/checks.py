"""What the facts of a machine mean for tickover.

Owns: the checks: what counts as good, what falls back to what, and what helps. Promises: pure; each check is
a function of the facts; a lack fails only where something that has to work here needs it. Never: looks at the
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from tickover.doctor.facts import Facts, Need, Silent
from tickover.host.runtimes.cgroup_ground import HINT as CGROUP_HINT

LEAST_PYTHON: Final = (3, 11)
LEAST_DRIVER: Final = 570  # the first whose checkpoint can be called
LEAST_FREE_BYTES: Final = 1 << 30
_GIB: Final = 1 << 30
_DRIVER_REMEDY: Final = "apt-get install nvidia-driver    # 570 or later, then reboot; nvidia-smi shows it"
_NO_GPU: Final = "functions without gpuConfig are served on the processor; those with one are refused"
_KEEP_MEMORY: Final = "an idle instance keeps what its server's own sleep leaves on the card (0.1 to 7 GB)"


class Status(Enum):
    """OK: as good as it gets. FALLBACK: works, a lesser way. MISSING: not there. BROKEN: there, but bad."""

    OK = "ok"
    FALLBACK = "fallback"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One line. instead: what falls back to what. remedy: the command or setting that helps. is_needed: what
    runs here, or is to run, cannot do without."""

    name: str
    status: Status
    found: str
    instead: str = ""
    remedy: str = ""
    is_needed: bool = False

    @property
    def fails(self) -> bool:
        return self.is_needed and self.status in (Status.MISSING, Status.BROKEN)

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "status": self.status.value,
            "found": self.found,
            "instead": self.instead,
            "remedy": self.remedy,
            "needed": self.is_needed,
        }


def judge(facts: Facts) -> tuple[Check, ...]:
    """All checks, in the order of the table."""
    return tuple(check(facts) for check in TABLE)


def is_good(checks: tuple[Check, ...]) -> bool:
    return not any(check.fails for check in checks)


def _needs(facts: Facts, need: Need) -> bool:
    return not isinstance(facts.needs, Silent) and need in facts.needs


def _silent(name: str, fact: Silent, remedy: str = "", *, is_needed: bool = False) -> Check:
    return Check(name, Status.BROKEN, f"could not be found out: {fact.reason}", "", remedy, is_needed)


def host(facts: Facts) -> Check:
    name, fact = "host", facts.host
    if isinstance(fact, Silent):
        return _silent(name, fact, "tickover host stop && tickover host start", is_needed=True)
    if fact.pid is None:
        return Check(
            name, Status.MISSING, "not running", "nothing is served until it runs", "tickover host start"
        )
    return Check(name, Status.OK, f"runs at {fact.url} (pid {fact.pid}, version {fact.version})")


def declared(facts: Facts) -> Check:
    name = "functions"
    if isinstance(facts.needs, Silent):
        return _silent(name, facts.needs, "tickover host start    # it checks its database", is_needed=True)
    kinds = ", ".join(sorted(need.value for need in facts.needs))
    return Check(name, Status.OK, f"kinds that have to work here: {kinds or 'none named or declared yet'}")


def python(facts: Facts) -> Check:
    fact = facts.python
    words = f"{'.'.join(map(str, fact.version))} ({fact.executable})"
    if fact.version >= LEAST_PYTHON:
        return Check("python", Status.OK, words, is_needed=True)
    return Check("python", Status.BROKEN, words, "", "make setup PYTHON=python3.11    # or newer", True)


def packages(facts: Facts) -> Check:
    name, fact = "packages", facts.packages
    if isinstance(fact, Silent):
        return _silent(name, fact, "make setup", is_needed=True)
    if fact.missing:
        found = f"tickover {fact.own} without {', '.join(fact.missing)}"
        return Check(name, Status.BROKEN, found, "", "make setup", True)
    if not fact.found:
        return Check(name, Status.OK, f"tickover {fact.own}, not installed as a package", is_needed=True)
    versions = ", ".join(f"{package} {version}" for package, version in fact.found.items())
    return Check(name, Status.OK, f"tickover {fact.own} with {versions}", is_needed=True)


def data_home(facts: Facts) -> Check:
    name, fact = "data home", facts.home
    if isinstance(fact, Silent):
        return _silent(name, fact, "df -h    # a file system that does not answer", is_needed=True)
    if not fact.path:
        found = "no project here, and TICKOVER_HOME is not set"
        return Check(name, Status.MISSING, found, "", "cd to a project, or tickover -C DIR doctor")
    free = f"{fact.free_bytes / _GIB:.1f} GB free"
    if fact.trouble:
        remedy = f"ls -ld {fact.path}    # give yourself write access, or set TICKOVER_HOME"
        return Check(name, Status.BROKEN, f"{fact.path}: {fact.trouble}", "", remedy, True)
    if fact.free_bytes < LEAST_FREE_BYTES:
        return Check(
            name, Status.BROKEN, f"{fact.path}: {free}", "", f"df -h {fact.path}    # free some", True
        )
    return Check(name, Status.OK, f"{fact.path}: {free}", is_needed=True)


def port(facts: Facts) -> Check:
    name, fact = "port", facts.port
    if isinstance(fact, Silent):
        return _silent(name, fact)
    if fact.is_ours:
        return Check(name, Status.OK, f"{fact.port}, held by this host")
    if fact.is_free:
        return Check(name, Status.OK, f"{fact.port} is free")
    found = f"{fact.port} is taken by {fact.holder or 'a process that cannot be seen'}"
    remedy = "tickover host start --port PORT    # or stop what holds it"
    return Check(name, Status.FALLBACK, found, "the host takes the next free port, and says so", remedy)


def driver(facts: Facts) -> Check:
    name, fact, is_needed = "NVIDIA driver", facts.driver, _needs(facts, Need.GPU)
    if isinstance(fact, Silent):
        return _silent(name, fact, "nvidia-smi", is_needed=is_needed)
    if not fact.version:
        if not isinstance(facts.cuda, Silent) and facts.cuda.is_there:
            found = "its libraries are installed, its kernel module is not loaded"
            return Check(name, Status.BROKEN, found, _NO_GPU, "modprobe nvidia && nvidia-smi", is_needed)
        return Check(name, Status.MISSING, "not installed", _NO_GPU, _DRIVER_REMEDY, is_needed)
    if int(fact.version.partition(".")[0]) < LEAST_DRIVER:
        found = f"{fact.version}, which has no checkpoint"
        return Check(name, Status.FALLBACK, found, _KEEP_MEMORY, _DRIVER_REMEDY, is_needed)
    return Check(name, Status.OK, fact.version, is_needed=is_needed)


def _help(facts: Facts, instead: str) -> tuple[str, str]:
    """What helps against a lack; nothing where the driver's own line says it already."""
    is_told = not isinstance(facts.driver, Silent) and not facts.driver.version
    return ("", "") if is_told else (instead, _DRIVER_REMEDY)


def cuda(facts: Facts) -> Check:
    name, fact, is_needed = "CUDA library", facts.cuda, _needs(facts, Need.GPU)
    if isinstance(fact, Silent):
        return _silent(name, fact, "nvidia-smi    # does the driver answer?", is_needed=is_needed)
    if not fact.is_there:
        return Check(name, Status.MISSING, fact.trouble, *_help(facts, _NO_GPU), is_needed)
    if fact.trouble:
        return Check(name, Status.BROKEN, fact.trouble, _NO_GPU, "nvidia-smi", is_needed)
    counted = f"{fact.cards} card" if fact.cards == 1 else f"{fact.cards} cards"
    return Check(name, Status.OK, f"libcuda.so.1, CUDA {fact.version}, {counted}", is_needed=is_needed)


def checkpoint(facts: Facts) -> Check:
    name, fact = "CUDA checkpoint", facts.cuda
    if isinstance(fact, Silent) or not fact.is_there or fact.trouble:
        return Check(name, Status.MISSING, "needs a driver that works", *_help(facts, _KEEP_MEMORY))
    if not fact.has_checkpoint:
        found = "libcuda.so.1 has no cuCheckpointProcessLock"
        return Check(name, Status.FALLBACK, found, _KEEP_MEMORY, _DRIVER_REMEDY)
    trial = fact.trial
    if trial is None:
        return Check(name, Status.MISSING, "the calls are there, but no card to try them on", _KEEP_MEMORY)
    if isinstance(trial, Silent) or trial.trouble:
        why = trial.reason if isinstance(trial, Silent) else trial.trouble
        found, remedy = (
            f"a small process was not brought back: {why}",
            "nvidia-smi    # is card 0 sound and free?",
        )
        return Check(name, Status.FALLBACK, found, _KEEP_MEMORY, remedy)
    took = ", ".join(f"{verb} {seconds * 1000:.0f} ms" for verb, seconds in trial.seconds.items())
    return Check(name, Status.OK, f"a small process went and came back with its memory: {took}")


def cards(facts: Facts) -> Check:
    name, fact, is_needed = "cards (NVML)", facts.cards, _needs(facts, Need.GPU)
    if isinstance(fact, Silent):
        return _silent(name, fact, "nvidia-smi", is_needed=is_needed)
    if fact.reason:
        return Check(name, Status.MISSING, fact.reason, *_help(facts, _NO_GPU), is_needed)
    return Check(name, Status.OK, "; ".join(fact.lines), is_needed=is_needed)


_WITHOUT_CGROUP: Final[Mapping[str, str]] = {
    "tree": "instances are frozen by SIGSTOP and found by /proc",
    "memory": "memorySize is not enforced for processes",
    "cpu": "cpu is not enforced for processes",
}


def cgroups(facts: Facts) -> Check:
    name, fact = "cgroups", facts.cgroups
    if isinstance(fact, Silent):
        return _silent(name, fact)
    had = [f"{use} by v{version}" for use, version in fact.versions.items() if not fact.reasons.get(use)]
    lacking = [use for use, reason in fact.reasons.items() if reason]
    if not lacking:
        return Check(name, Status.OK, ", ".join(had))
    reasons = "; ".join(dict.fromkeys(fact.reasons[use] for use in lacking))
    found = f"{', '.join(had) or 'none'}; not {', '.join(lacking)}: {reasons}"
    return Check(
        name, Status.FALLBACK, found, "; ".join(_WITHOUT_CGROUP[use] for use in lacking), CGROUP_HINT
    )


def mounts(facts: Facts) -> Check:
    name, fact = "mount namespaces", facts.mounts
    if isinstance(fact, Silent):
        return _silent(name, fact)
    if not fact.trouble:
        return Check(name, Status.OK, "a trial mount worked")
    instead = "mountDir is replaced in the command of a process by the real folder"
    remedy = "sysctl kernel.unprivileged_userns_clone=1    # or run the host as root"
    return Check(name, Status.FALLBACK, fact.trouble, instead, remedy)


def engine(facts: Facts) -> Check:
    name, fact, is_needed = "Docker engine", facts.engine, _needs(facts, Need.CONTAINER)
    instead = "only process:// images can be served"
    if isinstance(fact, Silent):
        return _silent(name, fact, "docker info    # does the engine answer?", is_needed=is_needed)
    if fact.trouble:
        remedy = "systemctl start docker    # or install docker.io, or set DOCKER_HOST=unix://SOCKET"
        return Check(name, Status.MISSING, fact.trouble, instead, remedy, is_needed)
    return Check(name, Status.OK, f"{fact.version} at {fact.address}", is_needed=is_needed)


def nfs(facts: Facts) -> Check:
    name, fact = "NFS client", facts.nfs
    if isinstance(fact, Silent):
        return _silent(name, fact)
    instead = "a NAS is a folder of this machine (tickover host start --nas NAME=DIR)"
    if not fact.has_kernel:
        return Check(name, Status.MISSING, "the kernel has no NFS client", instead, "modprobe nfs")
    if not fact.path:
        only = "containers can have exports of NFS servers (SERVER:/path); for processes " + instead
        return Check(name, Status.MISSING, "mount.nfs is not there", only, "apt-get install nfs-common")
    return Check(name, Status.OK, fact.path)


TABLE: Final[tuple[Callable[[Facts], Check], ...]] = (
    host,
    declared,
    python,
    packages,
    data_home,
    port,
    engine,
    mounts,
    cgroups,
    nfs,
    driver,
    cuda,
    cards,
    checkpoint,
)


def document(checks: tuple[Check, ...], facts: Facts) -> dict[str, Any]:
    """The whole answer as JSON."""
    needs = [] if isinstance(facts.needs, Silent) else sorted(need.value for need in facts.needs)
    return {"ok": is_good(checks), "needs": needs, "checks": [check.as_json() for check in checks]}

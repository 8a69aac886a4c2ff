"""What `tickover doctor` knows of a machine, as values.

Owns: the facts, and the word for one that could not be found out. Promises: frozen data, no secret in any of
them. Never: looks for anything (`gather` does), judges (`checks` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Need(Enum):
    """A kind of function that has to work here."""

    PROCESS = "process"
    CONTAINER = "container"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Silent:
    """It could not be found out; reason is a phrase for a person."""

    reason: str


@dataclass(frozen=True, slots=True)
class HostFact:
    """pid: None where no host runs."""

    pid: int | None = None
    url: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class PythonFact:
    version: tuple[int, int, int]
    executable: str


@dataclass(frozen=True, slots=True)
class PackagesFact:
    """own: the version of tickover itself. missing: what it needs and is not installed."""

    own: str
    found: Mapping[str, str]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HomeFact:
    """path: empty where no project is. trouble: why it cannot be written; empty if it can."""

    path: str
    trouble: str = ""
    free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PortFact:
    """holder: who listens on it, as far as that can be seen."""

    port: int
    is_free: bool
    holder: str = ""
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class DriverFact:
    """version: of the kernel module, empty where none is loaded."""

    version: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A lock, checkpoint, restore and unlock of a small process. trouble: what failed, if anything."""

    seconds: Mapping[str, float]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class CudaFact:
    """trouble: why libcuda.so.1 cannot be loaded or initialised. trial: None where no card was there."""

    is_there: bool
    trouble: str = ""
    version: str = ""  # of CUDA that the driver speaks
    has_checkpoint: bool = False
    cards: int = 0
    trial: Trial | Silent | None = None


@dataclass(frozen=True, slots=True)
class CardsFact:
    """lines: as `host status` tells them. reason: why there is no card; empty if there is one."""

    lines: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CgroupFact:
    """reasons: use → why it cannot be had; empty if it can. versions: use → v1 or v2."""

    versions: Mapping[str, int]
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MountFact:
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class EngineFact:
    """trouble: why it cannot be used; empty if it can."""

    address: str
    version: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class NfsFact:
    """path: of mount.nfs, empty where it is not installed. has_kernel: the kernel can mount NFS, or load what
    it takes."""

    path: str
    has_kernel: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """needs: the kinds of function that have to work."""

    host: HostFact | Silent
    python: PythonFact
    packages: PackagesFact | Silent
    home: HomeFact | Silent
    port: PortFact | Silent
    driver: DriverFact | Silent
    cuda: CudaFact | Silent
    cards: CardsFact | Silent
    cgroups: CgroupFact | Silent
    mounts: MountFact | Silent
    engine: EngineFact | Silent
    nfs: NfsFact | Silent
    needs: frozenset[Need] | Silent = field(default_factory=frozenset)

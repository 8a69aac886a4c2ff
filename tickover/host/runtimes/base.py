"""What the pool asks of anything that can run an instance.

Owns: the `Runtime` protocol and its values. Promises: an instance exists only after its handle was recorded;
the handle is text that another host process can use later. Never: knows pools, requests or money.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from tickover.fc.function import Function


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card of this machine. index: in the order of the PCI bus, as NVML counts."""

    index: int
    uuid: str


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """An instance to start. port: what it has to listen on, on the loopback.

    gpus: the cards that it may see; None where nobody gives cards out.
    """

    instance_id: str
    spec: Function = field(repr=False)
    port: int
    nas: Mapping[str, Path]
    log_path: Path
    work_dir: Path
    gpus: tuple[Gpu, ...] | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """ref: the runtime's own name of the instance, good across hosts. pid: its first process, if any."""

    ref: str
    pid: int | None


class Condition(Enum):
    RUNNING = "running"
    FROZEN = "frozen"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How an instance ended; both None when nobody could see it. why: what the kernel has killed it, or one
    of its processes, for; empty if it has not."""

    code: int | None = None
    signal: str | None = None
    why: str = ""

    def __str__(self) -> str:
        if self.signal == "SIGKILL" and self.why:
            return f"killed: {self.why}"
        after = f", after one of its processes was killed: {self.why}" if self.why else ""
        if self.signal is not None:
            return f"killed by {self.signal}{after}"
        if self.code is not None:
            return f"exited with code {self.code}{after}"
        return f"ended with an exit status that this host could not see{after}"


@dataclass(eq=False)
class RuntimeFailed(Exception):
    """The runtime could not do it; reason is a sentence for a person."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class Runtime(Protocol):
    """Runs instances. All methods are called on the pool's event loop."""

    name: str
    host: str  # where the instance's port is reached
    is_forwarded: bool  # something else accepts for the port: that it connects proves nothing

    async def open(self, refs: Collection[str]) -> None:
        """Look at what former hosts left: `condition` knows these refs afterwards. Raises nothing."""
        ...

    async def close(self) -> None:
        """Let go of everything but the instances."""
        ...

    def accepts(self, image: str) -> bool:
        """Whether an image is of this runtime."""
        ...

    async def spawn(self, plan: LaunchPlan, record: Callable[[Handle], None]) -> Handle:
        """Start it. record is called when it exists and before any of its own code runs.

        Whatever ends the host before record has returned leaves nothing behind. Raises RuntimeFailed.
        """
        ...

    async def collect(self, living: Collection[str]) -> tuple[str, ...]:
        """End what this host has made and no ref in living claims; the ids of those instances.

        Raises RuntimeFailed.
        """
        ...

    def condition(self, ref: str) -> Condition: ...

    def members(self, instance_id: str, ref: str) -> Collection[int]:
        """The ids of its processes, as this machine counts them."""
        ...

    def watch(self, ref: str, on_exit: Callable[[ExitStatus], None]) -> Callable[[], None]:
        """Calls on_exit once, from the loop, when the instance ends; the answer takes that back."""
        ...

    async def freeze(self, ref: str) -> None:
        """Take the processor from all of it. Raises RuntimeFailed."""
        ...

    async def thaw(self, ref: str) -> None: ...

    async def execute(self, ref: str, plan: LaunchPlan, argv: Sequence[str], seconds: float) -> ExitStatus:
        """Run a command inside the instance of plan, which runs, as it sees the world; its words go to the
        instance's log. Raises RuntimeFailed; after `seconds` it is killed. What is left of it all the same
        ends with the instance."""
        ...

    async def stop(self, instance_id: str, ref: str, grace_seconds: float) -> None:
        """End it; when this returns nothing of it is left. A ref of something long gone is no error."""
        ...

    def describe(self) -> str:
        """How it isolates instances here, for `host status` and the log."""
        ...

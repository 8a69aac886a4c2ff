"""The CUDA driver's checkpoint of a process, done in a helper process under a watchdog.

Owns: the protocol `Checkpointer`, its error, the helper processes. Promises: no call of the driver is made in
this process; every call ends within its limit, and one that does not ends its helper and is a failure; calls
that run side by side have a helper each, so the end of one does not touch another. Never: decides what to
checkpoint (`sequence`), tries again.

A helper that hung in the driver cannot be trusted to take a second call, and a call cannot be taken back from
within the process that made it: that is why a process is the unit, not a thread. Ending a helper does
not stop the driver: seen on an H100, a checkpoint or restore whose caller was killed went on to its end,
`state` waited for that end, and the process could be brought back from there with its results intact.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

import structlog

log = structlog.get_logger(__name__)

COMMAND: Final = (sys.executable, "-P", "-m", "tickover.host.gpu.checkpoint_helper")
# The host's environment may hold keys; a helper gets what the loader, Python and the driver need.
_PASSED: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME", "CUDA_VISIBLE_DEVICES")
_KILL_WAIT_SECONDS: Final = 1.0
_LINE_BYTES: Final = 64 * 1024


class CudaState(Enum):
    """What the driver says of a process."""

    RUNNING = "running"
    LOCKED = "locked"
    CHECKPOINTED = "checkpointed"
    FAILED = "failed"
    NONE = "none"  # it does not use CUDA, or is gone


@dataclass(eq=False)
class CheckpointFailed(Exception):
    """A call failed. code: the driver's name of the error, or "hung", "no-helper"."""

    verb: str
    pid: int
    code: str
    reason: str

    @property
    def is_hang(self) -> bool:
        return self.code == "hung"

    def __str__(self) -> str:
        if not self.pid:
            return f"CUDA checkpoints cannot be made here: {self.reason}"
        return f"{self.verb} of process {self.pid} failed: {self.reason}"


class Checkpointer(Protocol):
    """Checkpoints processes by their id. All raise CheckpointFailed."""

    async def state(self, pid: int) -> CudaState: ...

    async def lock(self, pid: int, timeout_seconds: float) -> None: ...

    async def checkpoint(self, pid: int) -> None: ...

    async def restore(self, pid: int) -> None: ...

    async def unlock(self, pid: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a call may take. A lock also gets the time that the driver itself may wait.

    Measured: 2.1 GiB/s out and 5.4 GiB/s in, and 36 ms for each GiB of pinned memory at a restore; what is
    left of an engine asleep is small, so a minute is far beyond any sound call.
    """

    start_seconds: float = 20.0  # of a helper: Python, libcuda and cuInit
    quick_seconds: float = 5.0  # an unlock, and what a lock may take beyond its own timeout
    move_seconds: float = 60.0


class HelperCheckpointer:
    """`Checkpointer` over helper processes. `close` ends them."""

    def __init__(self, limits: Limits | None = None, command: Sequence[str] = COMMAND, kept: int = 2) -> None:
        self._limits = limits or Limits()
        self._command = tuple(command)
        self._kept = kept
        self._ready: list[_Helper] = []
        self._calls: set[asyncio.Task[dict[str, Any]]] = set()
        self._is_closed = False

    async def warm_up(self) -> None:
        """Have a helper ready, so that the first wake does not wait for one. Raises CheckpointFailed."""
        if not self._ready:
            self._ready.append(await self._start("start", 0))

    async def state(self, pid: int) -> CudaState:
        # The driver answers once what it is doing to the process has ended, so this may take as long.
        answer = await self._call("state", pid, self._limits.move_seconds)
        try:
            return CudaState(answer.get("state"))
        except ValueError as error:
            raise CheckpointFailed("state", pid, "unknown-state", f"it said {answer!r}") from error

    async def lock(self, pid: int, timeout_seconds: float) -> None:
        limit = timeout_seconds + self._limits.quick_seconds
        await self._call("lock", pid, limit, timeout_ms=max(round(timeout_seconds * 1000), 1))

    async def checkpoint(self, pid: int) -> None:
        await self._call("checkpoint", pid, self._limits.move_seconds)

    async def restore(self, pid: int) -> None:
        await self._call("restore", pid, self._limits.move_seconds)

    async def unlock(self, pid: int) -> None:
        await self._call("unlock", pid, self._limits.quick_seconds)

    async def close(self) -> None:
        """End all helpers, after the calls that are under way: each of them is bounded."""
        self._is_closed = True
        await asyncio.gather(*self._calls, return_exceptions=True)
        idle, self._ready = self._ready, []
        await asyncio.gather(*(helper.leave() for helper in idle))

    async def _call(self, verb: str, pid: int, seconds: float, **more: Any) -> dict[str, Any]:
        """A caller that is cancelled does not cut the driver's work in two: the call goes on to its end."""
        call = asyncio.get_running_loop().create_task(self._bounded(verb, pid, seconds, more))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.shield(call)

    async def _bounded(self, verb: str, pid: int, seconds: float, more: dict[str, Any]) -> dict[str, Any]:
        helper = self._ready.pop() if self._ready else await self._start(verb, pid)
        is_good = False
        try:
            # The alarm in the helper is the second watchdog, for when this process is gone.
            request = {"verb": verb, "pid": pid, "limit": seconds * 2 + 1, **more}
            async with asyncio.timeout(seconds):
                answer = await helper.ask(request)
            is_good = True
        except TimeoutError as error:
            reason = f"the driver did not return within {seconds:g} s; its helper was ended"
            raise CheckpointFailed(verb, pid, "hung", reason) from error
        except (OSError, ValueError, EOFError) as error:
            reason = f"the helper process ended or broke off: {error}"
            raise CheckpointFailed(verb, pid, "no-helper", reason) from error
        finally:
            if is_good and len(self._ready) < self._kept and not self._is_closed:
                self._ready.append(helper)
            elif is_good:
                await helper.leave()
            else:
                await helper.kill()
        if "error" in answer:
            raise CheckpointFailed(verb, pid, str(answer["error"]), str(answer.get("reason", "")))
        return answer

    async def _start(self, verb: str, pid: int) -> _Helper:
        limit = self._limits.start_seconds
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={name: os.environ[name] for name in _PASSED if name in os.environ},
                start_new_session=True,  # a Ctrl-C for the host must not cut a restore in two
                limit=_LINE_BYTES,
            )
        except OSError as error:
            reason = f"no helper process could be started: {error.strerror}"
            raise CheckpointFailed(verb, pid, "no-helper", reason) from error
        helper = _Helper(process)
        answer: dict[str, Any] | None = None
        try:
            async with asyncio.timeout(limit):
                answer = await helper.listen()
        except TimeoutError as error:
            raise CheckpointFailed(
                verb, pid, "no-helper", f"the helper was not ready within {limit:g} s"
            ) from error
        except (OSError, ValueError, EOFError) as error:
            reason = f"the helper process ended at its start: {error}"
            raise CheckpointFailed(verb, pid, "no-helper", reason) from error
        finally:
            if answer is None or "error" in answer:
                await helper.kill()
        if "error" in answer:
            raise CheckpointFailed(verb, pid, str(answer["error"]), str(answer.get("reason", "")))
        return helper


class _Helper:
    """One helper process and its two pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        writer = self._process.stdin
        assert writer is not None
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        return await self.listen()

    async def listen(self) -> dict[str, Any]:
        reader = self._process.stdout
        assert reader is not None
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("no whole answer came")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("the answer is not an object")
        return answer

    async def leave(self) -> None:
        """It ends by itself when its input does."""
        writer = self._process.stdin
        assert writer is not None
        writer.close()
        await self._ended()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._ended()

    async def _ended(self) -> None:
        """A process that is stuck within the kernel cannot be killed: it is left, and told."""
        try:
            async with asyncio.timeout(_KILL_WAIT_SECONDS):
                await self._process.wait()
        except TimeoutError:
            log.error("a checkpoint helper does not end; it hangs in the driver", helper=self._process.pid)

"""One container watched: its end is told, its words go to the host's log.

Owns: the tasks beside a container. Promises: an engine that goes away and comes back is waited for; the end
is told once to each who asked, after the last words are in the log; a host that takes over goes on in the log
where the former one stopped. Never: changes a container.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from tickover.host.runtimes.base import Condition, ExitStatus, RuntimeFailed
from tickover.host.runtimes.docker_config import LOG_LABEL
from tickover.host.runtimes.docker_faults import EngineAway
from tickover.host.runtimes.logs import open_log

if TYPE_CHECKING:
    from tickover.host.runtimes.docker_engine import Engine

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
_LAST_WORDS_SECONDS: Final = 2.0
_SIGNALLED: Final = 128  # exit codes above it are 128 + the signal
_MIB: Final = 1024 * 1024
_UP: Final = frozenset({"running", "paused", "restarting"})


def condition_of(shown: Mapping[str, Any] | None) -> Condition:
    """What an inspected container is to the pool. One that was never started is as good as gone."""
    status = str(shown["State"].get("Status")) if shown else ""
    if status not in _UP:
        return Condition.GONE
    return Condition.FROZEN if status == "paused" else Condition.RUNNING


def exit_status(state: Mapping[str, Any]) -> ExitStatus:
    """How an ended container ended."""
    if state.get("Status") == "created":
        return ExitStatus()
    code = int(state.get("ExitCode", 0))
    try:
        return ExitStatus(signal=signal.Signals(code - _SIGNALLED).name)
    except ValueError:
        return ExitStatus(code=code)


def out_of_memory(shown: Mapping[str, Any]) -> str:
    """A sentence for the log if it was killed for its memory; empty if not."""
    if not shown["State"].get("OOMKilled"):
        return ""
    size = int(shown["HostConfig"].get("Memory") or 0) // _MIB
    return f"tickover: killed for using more than its memorySize, {size} MB (/dev/shm is part of it)\n"


class ContainerLog:
    """The host's file of one container's words. Its modification time is the engine's time of the last one,
    so that a later host knows from where to go on."""

    def __init__(self, path: Path, *, afresh: bool) -> None:
        self._path = path
        self._is_writable = True
        try:
            self.since_ns = 0 if afresh else path.stat().st_mtime_ns + 1
        except FileNotFoundError:
            self.since_ns = 0

    def append(self, when_ns: int, text: bytes) -> None:
        self.since_ns = max(self.since_ns, when_ns + 1)
        self._write(text, when_ns)

    def note(self, line: str) -> None:
        """A line of the host's own."""
        self._write(line.encode(), None)

    def _write(self, text: bytes, when_ns: int | None) -> None:
        if not self._is_writable:
            return
        try:
            descriptor = open_log(self._path)
            try:
                while text:
                    text = text[os.write(descriptor, text) :]
                if when_ns is not None:
                    os.utime(descriptor, ns=(when_ns, when_ns))
            finally:
                os.close(descriptor)
        except OSError as error:
            self._is_writable = False  # said once; the engine keeps the container's own log
            log.warning("a log cannot be written", path=str(self._path), error=str(error))


class Watch:
    """What the runtime knows of one container that may run."""

    def __init__(self, engine: Engine, ref: str, condition: Condition, words: ContainerLog | None) -> None:
        self.condition = condition
        self.ended = asyncio.Event()
        self._engine = engine
        self._ref = ref
        self._log = words
        self._status: ExitStatus | None = None
        self._listeners: dict[object, Callable[[ExitStatus], None]] = {}
        self._task = asyncio.get_running_loop().create_task(self._attend())
        self._task.add_done_callback(_tell_trouble)

    def listen(self, on_exit: Callable[[ExitStatus], None]) -> Callable[[], None]:
        """on_exit is called once, from the loop; the answer takes that back."""
        if self._status is not None:
            return asyncio.get_running_loop().call_soon(on_exit, self._status).cancel
        key = object()
        self._listeners[key] = on_exit

        def unlisten() -> None:
            self._listeners.pop(key, None)

        return unlisten

    async def close(self) -> None:
        self._listeners.clear()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _attend(self) -> None:
        copying = asyncio.get_running_loop().create_task(self._copy())
        try:
            shown = await self._until_ended()
        finally:
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)
        self.condition = Condition.GONE
        if shown is not None:
            await self._last_words(shown)
        self._status = exit_status(shown["State"]) if shown is not None else ExitStatus()
        self.ended.set()
        listeners = list(self._listeners.values())
        self._listeners.clear()
        for on_exit in listeners:
            on_exit(self._status)

    async def _until_ended(self) -> dict[str, Any] | None:
        """The ended container; None if it is gone altogether."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._engine.wait(self._ref)
                shown = await self._engine.inspect(self._ref)
                if condition_of(shown) is Condition.GONE:
                    return shown
            except RuntimeFailed as error:
                if pause == _FIRST_PAUSE_SECONDS and isinstance(error, EngineAway):
                    log.warning("a container cannot be watched now", container=self._ref[:12], why=str(error))
                with suppress(RuntimeFailed):
                    if await self._engine.inspect(self._ref) is None:
                        return None
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _copy(self) -> None:
        """Follow its words until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            with suppress(RuntimeFailed):  # the other task tells of an engine that is away
                words = self._log or await self._found_log()
                async with aclosing(self._engine.logs(self._ref, words.since_ns, follow=True)) as entries:
                    async for when_ns, text in entries:
                        words.append(when_ns, text)
                        pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _found_log(self) -> ContainerLog:
        """Of a container that a former host has started: where its words go. Raises RuntimeFailed."""
        shown = await self._engine.inspect(self._ref)
        path = shown["Config"]["Labels"].get(LOG_LABEL) if shown else None
        if path is None:
            raise RuntimeFailed("the container is gone or names no log")
        self.condition = condition_of(shown)
        self._log = ContainerLog(Path(path), afresh=False)
        return self._log

    async def _last_words(self, shown: Mapping[str, Any]) -> None:
        """What was written after the following ended: the end and the last words come at the same time."""
        if self._log is None:
            return
        with suppress(RuntimeFailed, TimeoutError):  # removed already: its words are gone with it
            async with (
                asyncio.timeout(_LAST_WORDS_SECONDS),
                aclosing(self._engine.logs(self._ref, self._log.since_ns, follow=False)) as entries,
            ):
                async for when_ns, text in entries:
                    self._log.append(when_ns, text)
        verdict = out_of_memory(shown)
        if verdict:
            self._log.note(verdict)


def _tell_trouble(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("watching a container failed", exc_info=error)

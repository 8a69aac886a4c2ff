"""A plugin's process: from its start to its end.

Owns: the port it says, what it prints, its signals. Promises: it is in a process group of its own (Ctrl-C
is the engine's to answer), that whole group is gone after `stop`, and goes too when the engine is killed;
a plugin that cannot start is an error with the end of what it said. Never: speaks gRPC.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tickover.engine.plugins import guard
from tickover.engine.plugins.launch import Launch
from tickover.engine.provider import ProviderLog, Severity
from tickover.errors import TickoverError

PORT_SECONDS: Final = 60.0  # Pulumi waits for ever; a plugin of 500 MB on a cold disk takes its time
STOP_SECONDS: Final = 5.0
DIED_SECONDS: Final = 1.0

_TAIL_LINES: Final = 20
_LINE_BYTES: Final = 16 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_SHOWN_CHARACTERS: Final = 200
_DOTNET_PROGRESS: Final = ("\x1b]9;4;3;\x1b\\", "\x1b]9;4;0;\x1b\\")


class Guard:
    """Outlives this process by a moment, to end the plugins that a killed engine leaves behind.

    A process and a pipe, because PR_SET_PDEATHSIG would need code between fork and exec, which is not safe
    beside gRPC's threads, ends with the thread that forked, and misses a plugin's own children.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()

    async def add(self, group: int) -> None:
        async with self._starting:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-I",
                    "-S",
                    str(Path(guard.__file__)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(line.encode())

    async def close(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):  # somebody ended it; nothing is left to guard
            await self._process.stdin.drain()
        self._process.stdin.close()
        await self._process.wait()
        self._process = None


class PluginProcess:
    """A running plugin. Made by `start`, ended by `stop`."""

    def __init__(
        self, launch: Launch, process: asyncio.subprocess.Process, guard_: Guard, log: ProviderLog
    ) -> None:
        self.name = launch.name
        self.port = 0
        self._launch = launch
        self._process = process
        self._guard = guard_
        self._log = log
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._readers = [asyncio.create_task(self._drain(_lines(process.stderr), is_error=True))]
        self._stopped = False

    @property
    def pid(self) -> int:
        return self._process.pid

    async def read_port(self, seconds: float) -> None:
        """Wait for the first line; the rest of stdout goes to the log."""
        lines = _lines(self._process.stdout)
        try:
            first = await asyncio.wait_for(anext(lines, ""), seconds)
        except TimeoutError as error:
            raise self._broken(f"It said no port within {seconds:g} s.") from error
        self.port = _port(first)
        if self.port:
            self._readers.append(asyncio.create_task(self._drain(lines, is_error=False)))
            return
        if first.strip():
            raise self._broken(
                f"Its first line on stdout must be its port, not {first.strip()[:_SHOWN_CHARACTERS]!r}."
            )
        told = await self.death()
        raise self._broken(told or "It closed its stdout without saying a port.")

    async def death(self, seconds: float = DIED_SECONDS) -> str | None:
        """How the process ended and what it said last, or None if it lives after this time."""
        try:
            code = await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            return None
        with suppress(TimeoutError):  # a child of the plugin may hold the stream open
            await asyncio.wait_for(asyncio.shield(self._readers[0]), DIED_SECONDS)
        how = f"signal {signal.Signals(-code).name} ended it" if code < 0 else f"its exit code was {code}"
        return f"{how[0].upper()}{how[1:]}.{self._said()}"

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask it to end, then make it, with everything it started."""
        if self._stopped:
            return
        self._stopped = True
        for number in (signal.SIGINT, signal.SIGTERM):
            if self.is_alive:
                self._signal(number)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), seconds / 2)
        self._signal(signal.SIGKILL)
        await self._process.wait()
        self._guard.remove(self.pid)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        # Nobody reads on: without this the pipes stay open until the end of file comes by, and nothing that
        # is public closes them.
        self._process._transport.close()  # type: ignore[attr-defined]

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the group is gone already
            os.killpg(self.pid, number)

    async def _drain(self, lines: AsyncIterator[str], *, is_error: bool) -> None:
        severity = Severity.INFO if self._launch.speaks else Severity.DEBUG
        async for line in lines:
            if not line.strip():
                continue
            if is_error:
                self._tail.append(line)
            self._log(severity, "", line)

    def _said(self) -> str:
        said = "".join(f"\n  {line}" for line in self._tail)
        return f" The last it said on stderr:{said}" if said else " It said nothing on stderr."

    def _broken(self, what: str) -> TickoverError:
        told = "" if "stderr" in what else self._said()
        return TickoverError(
            "plugin-failed",
            "Provider plugin did not start",
            f"The provider {self.name} was started as\n  {' '.join(self._launch.argv)}\n{what}{told}",
            address=self.name,
        )


async def start(
    launch: Launch, guard_: Guard, log: ProviderLog, *, port_seconds: float = PORT_SECONDS
) -> PluginProcess:
    """The running plugin, its port known. Raises TickoverError ``plugin-failed``."""
    try:
        process = await asyncio.create_subprocess_exec(
            *launch.argv,
            cwd=launch.cwd,
            env=dict(launch.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise TickoverError(
            "plugin-failed",
            "Provider plugin did not start",
            f"The provider {launch.name} cannot be run: {error.strerror or error}: {launch.argv[0]}.",
            address=launch.name,
        ) from error
    plugin = PluginProcess(launch, process, guard_, log)
    try:
        await guard_.add(process.pid)
        await plugin.read_port(port_seconds)
    except BaseException:
        await asyncio.shield(plugin.stop())
        raise
    return plugin


def _port(line: str) -> int:
    for progress in _DOTNET_PROGRESS:  # `dotnet run` draws a progress bar even into a pipe
        line = line.replace(progress, "")
    text = line.strip()
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 65536 else 0


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    """The lines of a stream; one longer than the limit comes in pieces, so that memory stays bounded."""
    assert stream is not None
    rest = b""
    while chunk := await stream.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield _text(line)
        if len(rest) > _LINE_BYTES:
            yield _text(rest)
            rest = b""
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")

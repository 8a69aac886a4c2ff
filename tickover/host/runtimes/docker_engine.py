"""The calls to a Docker engine that the runtime needs, and nothing else of it.

Owns: the connection. Promises: each call ends within its deadline or with `EngineAway`; foreign errors leave
as `EngineAway` or `EngineRefused`; nothing connects before the first call. Never: decides, retries.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import aiodocker
import aiohttp
from aiodocker.execs import Exec

from tickover.host.clock import SECOND_NS
from tickover.host.runtimes.base import RuntimeFailed
from tickover.host.runtimes.docker_config import EngineFacts
from tickover.host.runtimes.docker_faults import NOT_FOUND_STATUS, UNREACHABLE_STATUS, away, refusal

_CONNECT_SECONDS: Final = 10.0
_UNIX: Final = "unix://"
_FRAME_HEAD_BYTES: Final = 8


class Engine:
    """One engine on this machine."""

    def __init__(self, address: str, call_seconds: float) -> None:
        self.address = address
        self._call_seconds = call_seconds
        self._opened: Any = None

    @property
    def _client(self) -> Any:
        """aiodocker's client: half of its methods have no types, so it is used untyped."""
        if not self.address.startswith(_UNIX):
            # Mounts and the loopback port mean this machine, so the engine has to be on it.
            raise RuntimeFailed(
                f"the Docker engine {self.address} is not on this machine; DOCKER_HOST must be unix://SOCKET"
            )
        if self._opened is None:
            # Each instance keeps two connections open; aiohttp's own bound would starve the other calls.
            connector = aiohttp.UnixConnector(self.address.removeprefix(_UNIX), limit=0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            session = aiohttp.ClientSession(connector=connector, timeout=timeout)
            self._opened = aiodocker.Docker(
                url="http://docker", connector=connector, session=session, timeout=timeout
            )
            self._session = session
        return self._opened

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            await self._session.close()
            self._opened = None

    @asynccontextmanager
    async def _asking(
        self, what: str, hidden: Iterable[str] = (), *, is_long: bool = False
    ) -> AsyncIterator[Any]:
        seconds = None if is_long else self._call_seconds
        try:
            async with asyncio.timeout(seconds):
                yield self._client
        except TimeoutError as error:
            raise away(self.address, f"no answer within {seconds or _CONNECT_SECONDS:g} s") from error
        except aiodocker.DockerError as error:
            if error.status == UNREACHABLE_STATUS:
                raise away(self.address, error.message) from error
            raise refusal(error.status, error.message, what, hidden) from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise away(self.address, f"it broke off: {error}") from error

    # -- the engine ------------------------------------------------------------------------------------

    async def facts(self) -> EngineFacts:
        async with self._asking("a question about itself") as client:
            info: dict[str, Any] = await client.system.info()
            version: dict[str, Any] = await client.version()
        return EngineFacts(str(version["Version"]), str(version["Arch"]), int(info["NCPU"]))

    # -- images ----------------------------------------------------------------------------------------

    async def image(self, name: str) -> dict[str, Any] | None:
        """The image as the engine has it; None if it has none."""
        async with self._asking(f"image {name}") as client:
            try:
                found: dict[str, Any] = await client.images.inspect(name)
            except aiodocker.DockerError as error:
                if error.status == NOT_FOUND_STATUS:
                    return None
                raise
        return found

    async def pull(
        self, name: str, login: Mapping[str, str] | None
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """Pull it, telling the engine's lines. No deadline: an image may take an hour."""
        hidden = tuple(login.values()) if login else ()
        async with self._asking(f"image {name}", hidden, is_long=True) as client:
            async for line in client.images.pull(name, auth=login, stream=True):
                yield line

    # -- containers ------------------------------------------------------------------------------------

    async def create(self, body: Mapping[str, Any], name: str, hidden: Iterable[str] = ()) -> str:
        async with self._asking(f"container {name}", hidden) as client:
            made = await client.containers.create(body, name=name)
        ref: str = made.id
        return ref

    async def start(self, ref: str, what: str, hidden: Iterable[str] = ()) -> None:
        async with self._asking(what, hidden) as client:
            await client.containers.container(ref).start()

    async def inspect(self, ref: str) -> dict[str, Any] | None:
        """The container; None if there is none."""
        async with self._asking(f"container {ref[:12]}") as client:
            try:
                found: dict[str, Any] = await client.containers.container(ref).show()
            except aiodocker.DockerError as error:
                if error.status == NOT_FOUND_STATUS:
                    return None
                raise
        return found

    async def pause(self, ref: str) -> None:
        async with self._asking(f"container {ref[:12]}") as client:
            await client.containers.container(ref).pause()

    async def unpause(self, ref: str) -> None:
        async with self._asking(f"container {ref[:12]}") as client:
            await client.containers.container(ref).unpause()

    async def kill(self, ref: str, signal: str) -> None:
        async with self._asking(f"container {ref[:12]}") as client:
            await client.containers.container(ref).kill(signal=signal)

    async def prepare(self, ref: str, argv: Sequence[str], env: Mapping[str, str]) -> str:
        """A command for a container, not yet run: its id. env: what it has beside the container's."""
        async with self._asking(f"container {ref[:12]}") as client:
            made = await client.containers.container(ref).exec(list(argv), environment=env)
        command: str = made.id
        return command

    async def execute(self, ref: str, command: str, said: Callable[[bytes], None]) -> int:
        """Run a prepared command to its end; its exit code. said hears its words. No deadline."""
        async with self._asking(f"container {ref[:12]}", is_long=True) as client:
            made = Exec(client, command, tty=False)
            async with made.start(detach=False) as words:
                while (word := await words.read_out()) is not None:
                    said(word.data)
            shown: dict[str, Any] = await made.inspect()
        return int(shown["ExitCode"])

    async def has_ended(self, command: str) -> bool:
        """Whether a command is over, not just not begun. The engine forgets it with its container."""
        async with self._asking("a command") as client:
            try:
                shown: dict[str, Any] = await Exec(client, command, tty=False).inspect()
            except aiodocker.DockerError as error:
                if error.status == NOT_FOUND_STATUS:
                    return True
                raise
        return not shown["Running"] and shown["ExitCode"] is not None

    async def remove(self, ref: str) -> None:
        """Kill and remove it with its anonymous volumes. What is gone is fine."""
        async with self._asking(f"container {ref[:24]}") as client:
            try:
                await client.containers.container(ref).delete(force=True, v=True)
            except aiodocker.DockerError as error:
                is_going = "removal of container" in error.message and "in progress" in error.message
                if error.status != NOT_FOUND_STATUS and not is_going:
                    raise

    async def labelled(self, label: str, value: str) -> list[dict[str, Any]]:
        """Summaries of the containers with this label, ended ones too."""
        filters = {"label": [f"{label}={value}"]}
        async with self._asking("a list of containers") as client:
            found: list[dict[str, Any]] = await client._query_json(
                "containers/json", params={"all": True, "filters": json.dumps(filters)}
            )
        return found

    # -- volumes ---------------------------------------------------------------------------------------

    async def has_volume(self, name: str) -> bool:
        async with self._asking(f"volume {name}") as client:
            try:
                await client._query_json(f"volumes/{name}")
            except aiodocker.DockerError as error:
                if error.status == NOT_FOUND_STATUS:
                    return False
                raise
        return True

    async def unused_volumes(self, label: str, value: str) -> list[str]:
        """The names of volumes with this label that no container has."""
        filters = {"label": [f"{label}={value}"], "dangling": ["true"]}
        async with self._asking("a list of volumes") as client:
            found = await client._query_json("volumes", params={"filters": json.dumps(filters)})
        return [volume["Name"] for volume in found["Volumes"] or ()]

    async def remove_volume(self, name: str) -> None:
        """What is gone is fine."""
        async with self._asking(f"volume {name}") as client:
            try:
                async with client._query(f"volumes/{name}", method="DELETE"):
                    pass
            except aiodocker.DockerError as error:
                if error.status != NOT_FOUND_STATUS:
                    raise

    # -- watching --------------------------------------------------------------------------------------

    async def wait(self, ref: str) -> None:
        """Return when it does not run. No deadline."""
        async with self._asking(f"container {ref[:12]}", is_long=True) as client:
            await client.containers.container(ref).wait()

    async def logs(self, ref: str, since_ns: int, *, follow: bool) -> AsyncGenerator[tuple[int, bytes], None]:
        """What it wrote from since_ns on: (when in ns since the epoch, text)."""
        params = {
            "stdout": True,
            "stderr": True,
            "timestamps": True,
            "follow": follow,
            "since": f"{since_ns // SECOND_NS}.{since_ns % SECOND_NS:09d}",
        }
        path = f"containers/{ref}/logs"
        async with (
            self._asking(f"container {ref[:12]}", is_long=follow) as client,
            client._query(path, params=params) as answer,
        ):
            try:
                while (length := await _frame_length(answer.content)) is not None:
                    if length:
                        yield split_frame(await answer.content.readexactly(length))
            finally:
                answer.close()  # or the end of the stream would be waited for


async def _frame_length(content: Any) -> int | None:
    """The length of the next frame; None at the end. A head is the kind, three zeros and the length."""
    try:
        head = await content.readexactly(_FRAME_HEAD_BYTES)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    length: int = struct.unpack(">BxxxL", head)[1]
    return length


def split_frame(frame: bytes) -> tuple[int, bytes]:
    """A log entry as (when, text); the engine puts the time before each."""
    stamp, _, text = frame.partition(b" ")
    return stamp_ns(stamp.decode("ascii")), text


def stamp_ns(stamp: str) -> int:
    """``2026-01-02T03:04:05.000000006Z`` as ns since the epoch. Raises ValueError."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * SECOND_NS + int(fraction.ljust(9, "0")[:9] or 0)

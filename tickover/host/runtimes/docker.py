"""Instances as containers of this machine's Docker engine.

Owns: birth, freezing and end of an instance's container. Promises: a container exists under its label and
name before it is recorded, and nothing runs in it before it is; what nobody claims is collected, and nothing
of anybody else's is touched; an engine that is away delays what concerns containers and nothing else. Never:
keeps an instance from outliving the host (the next one adopts it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from tickover.host.looks import Looks
from tickover.host.runtimes import docker_exec, procfs
from tickover.host.runtimes.base import Condition, ExitStatus, Handle, LaunchPlan, RuntimeFailed
from tickover.host.runtimes.command import PORT_WORD
from tickover.host.runtimes.docker_config import (
    INSTANCE_LABEL,
    OWNER_LABEL,
    DockerSettings,
    EngineFacts,
    container_body,
    container_name,
    container_port,
    image_of,
)
from tickover.host.runtimes.docker_faults import EngineAway, EngineRefused
from tickover.host.runtimes.docker_images import Images, login_of
from tickover.host.runtimes.docker_mounts import named_volumes
from tickover.host.runtimes.docker_watch import ContainerLog, Watch, condition_of
from tickover.host.runtimes.process import IMAGE_SCHEME

if TYPE_CHECKING:
    from tickover.host.runtimes.docker_engine import Engine

log = structlog.get_logger(__name__)

_OPEN_SECONDS: Final = 10.0  # a machine that boots starts its engine and its host at the same time
_LOOK_AGAIN_SECONDS: Final = 0.2
_KILL_WAIT_SECONDS: Final = 10.0
_LONGEST_PAUSE_SECONDS: Final = 5.0
_SECRET_LENGTH: Final = 8  # shorter values of variables are words, not secrets


class DockerRuntime:
    """The runtime of every image that is not ``process://``."""

    name = "docker"
    host = "127.0.0.1"
    is_forwarded = True

    def __init__(
        self,
        settings: DockerSettings,
        pins: MutableMapping[str, str] | None = None,
        open_seconds: float = _OPEN_SECONDS,
    ) -> None:
        self._settings = settings
        self._pins = {} if pins is None else pins
        self._open_seconds = open_seconds
        self._about = f"docker: the engine at {settings.address} was not asked yet"
        self._seen: dict[str, Condition] = {}  # of former hosts, as found by open
        self._watches: dict[str, Watch] = {}
        self._being_born: set[str] = set()  # instance ids
        self._looks = Looks()

    @cached_property
    def _engine(self) -> Engine:
        """Made at first use: its library takes a quarter of a second to load, and many hosts need none."""
        from tickover.host.runtimes.docker_engine import Engine

        return Engine(self._settings.address, self._settings.call_seconds)

    @cached_property
    def _images(self) -> Images:
        return Images(self._engine, self._settings.owner, self._pins)

    def _is_there(self) -> bool:
        """Whether there is an engine to ask, as far as that can be seen without asking."""
        scheme, _, path = self._settings.address.partition("://")
        return scheme != "unix" or Path(path).exists()

    async def open(self, refs: Collection[str]) -> None:
        if not refs and not self._is_there():
            self._about = f"docker: no engine at {self._settings.address}"
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._open_seconds if refs else 0.0)
        while True:
            try:
                await self._facts()
                for ref in refs:
                    self._seen[ref] = condition_of(await self._engine.inspect(ref))
                return
            except RuntimeFailed as error:
                if loop.time() >= deadline:
                    if refs:
                        log.warning("containers are taken to run", why=error.reason, containers=len(refs))
                    # Gone would have the pool forget what may still hold a GPU. Their watches tell the truth
                    # once the engine is back.
                    for ref in refs:
                        self._seen.setdefault(ref, Condition.RUNNING)
                    return
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _facts(self) -> EngineFacts:
        try:
            facts = await self._engine.facts()
        except RuntimeFailed as error:
            self._about = f"docker: {error.reason}"
            raise
        self._about = f"docker: engine {facts.version} at {self._settings.address}"
        return facts

    async def close(self) -> None:
        watches = list(self._watches.values())
        self._watches.clear()
        for watch in watches:
            await watch.close()
        if "_engine" in self.__dict__:
            await self._engine.close()

    def accepts(self, image: str) -> bool:
        return bool(image) and not image.startswith(IMAGE_SCHEME)

    def describe(self) -> str:
        return self._about

    # -- start -----------------------------------------------------------------------------------------

    async def spawn(self, plan: LaunchPlan, record: Callable[[Handle], None]) -> Handle:
        name, image = container_name(plan.instance_id), image_of(plan.spec)
        words = ContainerLog(plan.log_path, afresh=True)
        facts = await self._facts()
        body = await self._looks.of(plan.spec, lambda: container_body(plan, self._settings, facts))
        body["Image"] = await self._images.provide(
            plan.spec, facts, lambda line: words.note(f"tickover: {line}\n")
        )
        for volume in named_volumes(body):
            if not await self._engine.has_volume(volume):
                raise RuntimeFailed(f"volume {volume} is not on the engine (docker volume create {volume})")
        hidden = _secrets(plan)
        self._being_born.add(plan.instance_id)
        creating = asyncio.ensure_future(self._engine.create(body, name, hidden))
        try:
            handle = Handle(await asyncio.shield(creating), None)
            record(handle)
            await self._engine.start(handle.ref, f"image {image}", hidden)
        except BaseException:  # cancellation too: what was not handed over is not left behind
            await asyncio.shield(self._discard(creating))
            raise
        else:
            self._watches[handle.ref] = Watch(self._engine, handle.ref, Condition.RUNNING, words)
        finally:
            self._being_born.discard(plan.instance_id)
        return handle

    async def _discard(self, creating: asyncio.Future[str]) -> None:
        """Remove what was made, once it is made. By its id: the name may be another one's."""
        await asyncio.wait({creating})
        if creating.cancelled() or creating.exception() is not None:
            return
        try:
            await self._engine.remove(creating.result())
        except RuntimeFailed as error:
            log.warning("a container is left to be collected", container=creating.result(), why=error.reason)

    async def collect(self, living: Collection[str]) -> tuple[str, ...]:
        """Remove this host's containers that nobody claims; the ids of their instances.

        One that this very host is starting or watching is claimed, whatever living says: it may be younger
        than living is.
        """
        ended: list[str] = []
        if "_engine" not in self.__dict__ and not self._is_there():  # then nothing was ever made
            return ()
        for row in await self._engine.labelled(OWNER_LABEL, self._settings.owner):
            ref, instance_id = row["Id"], row["Labels"].get(INSTANCE_LABEL, "")
            if ref in living or ref in self._watches or instance_id in self._being_born:
                continue
            await self._engine.remove(ref)
            log.info("collected a container that nobody claims", container=ref[:12], instance=instance_id)
            ended.append(instance_id)
        if not self._being_born:  # one that is being made may be about to use them
            for volume in await self._engine.unused_volumes(OWNER_LABEL, self._settings.owner):
                await self._engine.remove_volume(volume)
        return tuple(sorted(ended))

    # -- life ------------------------------------------------------------------------------------------

    def condition(self, ref: str) -> Condition:
        watch = self._watches.get(ref)
        if watch is not None:
            return watch.condition
        return self._seen.get(ref, Condition.GONE)

    def members(self, instance_id: str, ref: str) -> Collection[int]:
        return procfs.marked(instance_id)

    def watch(self, ref: str, on_exit: Callable[[ExitStatus], None]) -> Callable[[], None]:
        watch = self._watches.get(ref)
        if watch is None:
            condition = self._seen.pop(ref, Condition.GONE)
            watch = self._watches[ref] = Watch(self._engine, ref, condition, None)
        return watch.listen(on_exit)

    async def freeze(self, ref: str) -> None:
        await self._change(ref, Condition.FROZEN, self._engine.pause)

    async def thaw(self, ref: str) -> None:
        await self._change(ref, Condition.RUNNING, self._engine.unpause)

    async def execute(self, ref: str, plan: LaunchPlan, argv: Sequence[str], seconds: float) -> ExitStatus:
        port = container_port(plan.spec)
        words = [word.replace(PORT_WORD, str(port)) for word in argv]
        notes = ContainerLog(plan.log_path, afresh=False)
        mark, command = docker_exec.new_mark(), ""
        try:
            async with asyncio.timeout(seconds):
                command = await self._engine.prepare(ref, words, {docker_exec.VARIABLE: mark})
                code = await self._engine.execute(
                    ref, command, lambda said: notes.note(said.decode(errors="replace"))
                )
        except TimeoutError:
            left = await docker_exec.end(self._engine, ref, command, mark) if command else ""
            if left:
                log.warning("a command could not be ended", container=ref[:12], command=argv[0], why=left)
                left = f", and may go on until its instance ends: {left}"
            raise RuntimeFailed(f"it had not ended after {seconds:g} s{left}") from None
        return ExitStatus(code=code)

    async def _change(self, ref: str, wanted: Condition, act: Callable[[str], Awaitable[None]]) -> None:
        try:
            await act(ref)
        except EngineRefused:
            found = condition_of(await self._engine.inspect(ref))
            self._note(ref, found)
            if found is Condition.GONE:
                raise RuntimeFailed("the container has ended") from None
            if found is not wanted:
                raise
        self._note(ref, wanted)

    def _note(self, ref: str, condition: Condition) -> None:
        watch = self._watches.get(ref)
        if watch is not None and not watch.ended.is_set():
            watch.condition = condition
        elif ref in self._seen:
            self._seen[ref] = condition

    # -- end -------------------------------------------------------------------------------------------

    async def stop(self, instance_id: str, ref: str, grace_seconds: float) -> None:
        """Waits for an engine that is away: nobody else can say that nothing is left."""
        deadline = asyncio.get_running_loop().time() + grace_seconds
        pause, said = _LOOK_AGAIN_SECONDS, ""
        while True:
            try:
                await self._end(ref, deadline if grace_seconds > 0 else None)
                break
            except (EngineAway, EngineRefused) as error:
                if error.reason != said:
                    log.warning("a container cannot be ended yet", instance=instance_id, why=error.reason)
                said = error.reason
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        watch = self._watches.pop(ref, None)
        self._seen.pop(ref, None)
        if watch is not None:
            # Those who watch are told before the stop is over, as far as there is anything to tell.
            await _until(watch.ended, _LOOK_AGAIN_SECONDS)
            await watch.close()

    async def _end(self, ref: str, deadline: float | None) -> None:
        shown = await self._engine.inspect(ref)
        found = condition_of(shown)
        if found is not Condition.GONE:
            watch = self._watches.get(ref)
            if watch is None:
                watch = self._watches[ref] = Watch(self._engine, ref, found, None)
            loop = asyncio.get_running_loop()
            if deadline is not None and loop.time() < deadline:
                # The signal first: a frozen process meets it before anything else when it goes on.
                await self._signal(ref, "SIGTERM", found)
                await _until(watch.ended, deadline - loop.time())
            if not watch.ended.is_set():
                await self._signal(ref, "SIGKILL", found)
                await _until(watch.ended, _KILL_WAIT_SECONDS)
        if shown is not None:
            await self._engine.remove(ref)

    async def _signal(self, ref: str, signal: str, found: Condition) -> None:
        try:
            await self._engine.kill(ref, signal)
            if found is Condition.FROZEN:
                await self._engine.unpause(ref)
        except EngineRefused as error:  # it ended meanwhile, or the engine has thawed it for the signal
            log.debug("the engine did not signal", container=ref[:12], signal=signal, why=error.reason)


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return


def _secrets(plan: LaunchPlan) -> tuple[str, ...]:
    """What no message may show."""
    values = (plan.spec.environment_variables or {}).values()
    login = login_of(plan.spec) or {}
    return tuple(v for v in (*values, login.get("password", "")) if len(v) >= _SECRET_LENGTH)

"""Instances for tests of the host's runtimes: one small server that a process and a container both can be.

Owns: the program, its spec for either runtime, and the rig that starts and ends instances. Promises: the
server shows its variables, words and mounts as files over HTTP. Never: leaves an instance.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.support.docker_engine import BASE_IMAGE, PASSWORD, USER, Engine
from tickover.fc.function import Function
from tickover.host.probe import NoAnswer, ask
from tickover.host.runtimes.base import Handle, LaunchPlan, Runtime
from tickover.host.runtimes.docker import DockerRuntime
from tickover.host.runtimes.docker_config import DockerSettings
from tickover.host.runtimes.docker_probe import listens_behind
from tickover.host.runtimes.process import ProcessRuntime
from tickover.host.runtimes.procfs import parse_identity
from tickover.host.works import free_port

CONTAINER_PORT = 9123
# $1 folder to show, $2 address and port, the rest as it comes.
SERVE = """
trap 'echo polite; exit 0' TERM
busybox mkdir -p "$1"; cd "$1"; busybox env > env; printf '%s\\n' "$@" > argv
if [ -n "$3" ]; then
  busybox cat "$3/weights" > read; (echo x > "$3/new") 2> /dev/null; echo $? > write
fi
echo serving; busybox httpd -f -p "$2" -h "$1" & wait
"""
DEAF = "trap '' TERM; echo deaf; while :; do busybox sleep 0.2; done"


def spec(
    script: str = SERVE, words: tuple[str, ...] = (), *, image: str = "process://local", **changes: Any
) -> Function:
    """A function that runs a script; changes are wire properties, `container` those of the container."""
    container = {
        "image": image,
        "entrypoint": ["busybox", "sh", "-c", script, "it"],
        "command": list(words),
        "port": CONTAINER_PORT,
        **changes.pop("container", {}),
    }
    wire = {
        "functionName": "chat-dev",
        "runtime": "custom-container",
        "handler": "not-used",
        "cpu": 0.5,
        "memorySize": 512,
        "diskSize": 512,
        "customContainerConfig": {k: v for k, v in container.items() if v is not None},
        **changes,
    }
    return Function.model_validate(wire)


def credentials(password: str = PASSWORD) -> dict[str, Any]:
    return {"authConfig": {"userName": USER, "password": password}}


async def pushed(engine: Engine, name: str, source: str = BASE_IMAGE) -> str:
    """Put an image into the test's registry; its name with the digest."""
    full = f"{engine.registry}/{name}"
    repository, _, tag = full.rpartition(":")
    auth = {"username": USER, "password": PASSWORD}
    async with engine.client() as client:
        await client.images.tag(source, repository, tag=tag)
        await client.images.push(full, auth=auth)
        shown = await client.images.inspect(full)
    digest: str = next(d for d in shown["RepoDigests"] if d.startswith(repository))
    return digest


class Rig:
    """Instances of one test on one runtime."""

    def __init__(self, runtime: Runtime, folder: Path, image: str, address: str) -> None:
        self.runtime, self.folder, self.image, self._address = runtime, folder, image, address
        self.handles: dict[str, Handle] = {}
        self._count = 0

    def plan(self, function: Function) -> LaunchPlan:
        self._count += 1
        name = f"i-{os.getpid()}-{time.monotonic_ns():x}-{self._count}"
        log_path = self.folder / "logs" / f"{name}.log"
        port = free_port("127.0.0.1", set())
        return LaunchPlan(name, function, port, {"local": self.folder}, log_path, self.folder)

    def inner_port(self, plan: LaunchPlan) -> int:
        """The port that the program has to listen on."""
        return CONTAINER_PORT if self.runtime.is_forwarded else plan.port

    def server(self, *words: str, **changes: Any) -> Function:
        """The server that shows things."""
        first = (str(self.folder / "shown"), f"{self._address}${{port}}", *words)
        return spec(SERVE, first, image=self.image, **changes)

    async def spawn(self, function: Function, *, up: bool = False) -> tuple[LaunchPlan, str]:
        plan = self.plan(function)
        handle = await self.runtime.spawn(plan, lambda h: self.handles.update({plan.instance_id: h}))
        if up:
            await self.up(plan)
        return plan, handle.ref

    async def up(self, plan: LaunchPlan) -> None:
        async with asyncio.timeout(20):
            while not await listens_behind(self.runtime.host, plan.port, 1.0):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def get(self, plan: LaunchPlan, name: str) -> str:
        answer = await ask(self.runtime.host, plan.port, "GET", f"/{name}", 10.0)
        assert answer.status == 200, answer
        return answer.body.decode()

    async def is_silent(self, plan: LaunchPlan) -> bool:
        try:
            await ask(self.runtime.host, plan.port, "GET", "/env", 0.4)
        except NoAnswer as error:
            return "within" in error.reason
        return False

    async def pid(self, ref: str) -> int:
        """The instance's first process."""
        if isinstance(self.runtime, ProcessRuntime):
            return parse_identity(ref).pid
        assert isinstance(self.runtime, DockerRuntime)
        shown = await self.runtime._engine.inspect(ref)
        assert shown is not None
        found: int = shown["State"]["Pid"]
        return found

    async def murder(self, ref: str) -> None:
        os.kill(await self.pid(ref), signal.SIGKILL)

    async def stop(self, plan: LaunchPlan, grace: float = 5.0) -> None:
        await self.runtime.stop(plan.instance_id, self.handles[plan.instance_id].ref, grace)

    async def end(self) -> None:
        for name, handle in self.handles.items():
            await self.runtime.stop(name, handle.ref, 0.0)
        await self.runtime.close()


def docker_runtime(engine: Engine, folder: Path, **options: Any) -> DockerRuntime:
    return DockerRuntime(DockerSettings(str(folder), engine.host), **options)

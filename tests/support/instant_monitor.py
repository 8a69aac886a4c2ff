"""A monitor that answers at once, and programs of the real SDK run against it by our runner.

Owns: `InstantMonitor`, `Ran`, `run_text`. Promises: no engine, no provider, nothing kept on disk but the
program. Never: judges.
"""

from __future__ import annotations

import asyncio
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, resource_pb2

from tickover.engine.program import ProgramRun, run_program
from tickover.errors import TickoverError

PRELUDE = """
import pulumi


class Thing(pulumi.CustomResource):
    def __init__(self, name, opts=None, **props):
        super().__init__("test:index:Thing", name, {"token": None, **props}, opts)


Opts = pulumi.ResourceOptions
"""


class InstantMonitor:
    """Every registration succeeds; inputs come back as outputs. before: called first, by resource name."""

    def __init__(self, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self.requests: list[resource_pb2.RegisterResourceRequest] = []
        self.outputs: dict[str, Any] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return [r.name for r in self.requests if r.custom]

    def GetDeploymentInfo(self, _: Any) -> resource_pb2.DeploymentInfo:
        return resource_pb2.DeploymentInfo(
            project="demo",
            stack="dev",
            organization="organization",
            dryRun=self.dry_run,
            parallel=16,
            supportedFeatures=list(range(16)),
        )

    def RegisterResource(self, request: Any) -> resource_pb2.RegisterResourceResponse:
        with self._lock:
            self.requests.append(request)
        if request.name in self.before:
            self.before[request.name]()
        return resource_pb2.RegisterResourceResponse(
            urn=f"urn:pulumi:dev::demo::{request.type}::{request.name}",
            id=f"{request.name}-id" if request.custom else "",
            object=request.object,
        )

    def RegisterResourceOutputs(self, request: Any) -> empty_pb2.Empty:
        self.outputs = dict(request.outputs)
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, _: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()


class LogKeeper:
    """The engine that a program logs to."""

    def __init__(self) -> None:
        self.logged: list[engine_pb2.LogRequest] = []

    def Log(self, request: engine_pb2.LogRequest) -> None:
        self.logged.append(request)


@dataclass
class Ran:
    monitor: InstantMonitor
    lines: list[str] = field(default_factory=list)
    error: TickoverError | None = None
    engine: LogKeeper = field(default_factory=LogKeeper)
    cpu_seconds: float = 0.0


def run_text(
    folder: Path,
    program: str,
    *,
    monitor: InstantMonitor | None = None,
    stop_when: Callable[[list[str]], bool] | None = None,
    main: str = "__main__.py",
    **fields: Any,
) -> Ran:
    """Run a program. stop_when: called with the lines so far after each; True stops the program."""
    root = folder.resolve()
    path = root / main
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PRELUDE + textwrap.dedent(program))
    ran = Ran(monitor or InstantMonitor())
    run = ProgramRun(root, path.parent, "demo", "dev", {}, (), 16, ran.monitor.dry_run, **fields)

    async def go() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def said(line: str) -> None:
            ran.lines.append(line)
            if stop_when is not None and stop_when(ran.lines):
                loop.call_soon_threadsafe(stop.set)

        await run_program(run, ran.monitor, ran.engine, said, stop=stop)

    began = time.process_time()
    try:
        asyncio.run(go())
    except TickoverError as error:
        ran.error = error
    ran.cpu_seconds = time.process_time() - began
    return ran

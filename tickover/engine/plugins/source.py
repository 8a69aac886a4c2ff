"""The plugins of one operation: found, started, ended.

Owns: every process started for the operation. Promises: each provider has a process of its own, as under
Pulumi, so that two configurations never meet; all are gone after `close`. Never: configures a provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

from google.protobuf import empty_pb2

from tickover.engine.packages import PackageSpec
from tickover.engine.plugins.client import PluginProvider
from tickover.engine.plugins.connection import Connection
from tickover.engine.plugins.launch import Surroundings, launch_of
from tickover.engine.plugins.locate import Found, Missing, RealDisk, Way, locate, missing_error
from tickover.engine.plugins.process import PORT_SECONDS, Guard, start
from tickover.engine.plugins.serve import served
from tickover.engine.project import PluginPath
from tickover.engine.provider import ProviderLog, Severity, Unimplemented
from tickover.errors import TickoverError

_LOG_THREADS: Final = 4


class Plugins:
    """A `PluginSource`. engine_address: where the engine is served (see `serve.served`); empty: plugins get
    a server of our own that takes their log lines and nothing else. program: the folder or file of the
    program, where plugins run; without it that is root. project, runtime_options, config: what the plugins'
    environment tells of the project."""

    def __init__(
        self,
        root: Path,
        project_plugins: Iterable[PluginPath],
        environ: Mapping[str, str],
        interpreter: Path,
        *,
        program: Path | None = None,
        project: str = "",
        runtime_options: Mapping[str, Any] | None = None,
        config: str = "",
        engine_address: str = "",
        port_seconds: float = PORT_SECONDS,
    ) -> None:
        self.engine_address = engine_address
        self._project_plugins = tuple(project_plugins)
        folder = root if program is None else program if program.is_dir() else program.parent
        self._around = Surroundings(
            folder, interpreter, dict(environ), project, dict(runtime_options or {}), config
        )
        self._port_seconds = port_seconds
        self._guard = Guard()
        self._open: list[PluginProvider] = []
        self._warned: set[str] = set()
        self._servers = AsyncExitStack()
        self._serving = asyncio.Lock()

    def finds(self, spec: PackageSpec) -> bool:
        return isinstance(self.locate(spec), Found)

    def locate(self, spec: PackageSpec) -> Found | Missing:
        """Where the plugin is, or where it is not."""
        around = self._around
        return locate(spec, self._project_plugins, around.environ, around.interpreter, RealDisk())

    async def open(self, spec: PackageSpec, log: ProviderLog) -> PluginProvider:
        found = self.locate(spec)
        if isinstance(found, Missing):
            raise missing_error(spec, found.looked)
        if found.is_ambient and spec.name not in self._warned:
            self._warned.add(spec.name)
            log(Severity.WARNING, "", f"using pulumi-resource-{spec.name} from $PATH at {found.path}")
        _mark_used(found)
        address = await self._address(log)
        process = None
        if found.way is not Way.ATTACH:
            launch = launch_of(spec.name, found, self._around, address, spec.environment)
            process = await start(launch, self._guard, log, port_seconds=self._port_seconds)
        provider = PluginProvider(
            Connection(spec.name, process.port if process is not None else found.port, process), spec.package
        )
        self._open.append(provider)
        try:
            await provider.connect(address, _folder(found))
            if spec.parameterization is not None:
                await self._become(provider, spec)
        except BaseException:
            await asyncio.shield(provider.close())
            raise
        return provider

    async def close(self) -> None:
        providers, self._open = self._open, []
        try:
            await asyncio.gather(*(provider.close() for provider in providers))
        finally:
            await self._guard.close()
            await self._servers.aclose()

    async def _become(self, provider: PluginProvider, spec: PackageSpec) -> None:
        assert spec.parameterization is not None
        try:
            await provider.become(spec.parameterization)
        except Unimplemented as error:
            raise TickoverError(
                "plugin-failed",
                "Provider plugin cannot be parameterized",
                f"The package {spec.package} needs the plugin {spec.name} to take its place, and this plugin "
                "does not know how. A newer version of it may.",
                address=spec.package,
            ) from error

    async def _address(self, log: ProviderLog) -> str:
        async with self._serving:
            if not self.engine_address:
                loop = asyncio.get_running_loop()
                self.engine_address = await self._servers.enter_async_context(
                    served(_NoMonitor(), _Lines(log, loop), threads=_LOG_THREADS)
                )
        return self.engine_address


class _NoMonitor:
    """A monitor that serves nothing."""


class _Lines:
    """An engine that only takes log lines."""

    def __init__(self, log: ProviderLog, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._loop = loop

    def Log(self, request: Any) -> empty_pb2.Empty:
        def say() -> None:
            severity = _SEVERITIES.get(request.severity, Severity.INFO)
            self._log(severity, request.urn, request.message, ephemeral=request.ephemeral)

        self._loop.call_soon_threadsafe(say)
        return empty_pb2.Empty()


_SEVERITIES: Final = dict(enumerate((Severity.DEBUG, Severity.INFO, Severity.WARNING, Severity.ERROR)))


def _mark_used(found: Found) -> None:
    """Keep the note beside a cached plugin by which Pulumi tells which ones are out of use."""
    if found.cached is not None:
        with suppress(OSError):  # a cache that is only to be read serves as well
            found.cached.with_name(f"{found.cached.name}.lastused").touch(mode=0o600)


def _folder(found: Found) -> str:
    match found.way:
        case Way.BINARY:
            return str(found.path.parent)
        case Way.FOLDER:
            return str(found.path)
        case _:
            return ""

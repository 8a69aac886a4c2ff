"""Provider "docker" for the engine's protocol: pulumi-docker's everyday resources, in this process.

Owns: the table of handlers, the lazily made connection, refusals by name. Promises: check, diff and preview
need no engine; a type or input that is not covered is refused at Check with the command that installs the
real plugin. Never: prints, stores anything, is used where a real docker plugin is found.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tickover.engine.provider import (
    CheckFailure,
    CheckRequest,
    CheckResult,
    ConfigureRequest,
    CreateRequest,
    CreateResult,
    DeleteRequest,
    DiffRequest,
    DiffResult,
    InvokeResult,
    Local,
    ProviderLog,
    ReadRequest,
    ReadResult,
    Unavailable,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import PropertyMap, contains_unknown, reveal
from tickover.errors import Exit, TickoverError
from tickover.provider.docker import faults
from tickover.provider.docker.config import check_config, resolve
from tickover.provider.docker.fields import needs_plugin
from tickover.provider.docker.run import Daemon, Run, Sleep, until_done
from tickover.provider.docker.tables import REFUSED

if TYPE_CHECKING:
    from tickover.provider.docker.handler import Handler


def _handlers() -> dict[str, Handler]:
    # Imported here: only a program with docker resources pays for the HTTP library.
    from tickover.provider.docker.container import ContainerHandler
    from tickover.provider.docker.images import RegistryImageHandler, RemoteImageHandler, TagHandler
    from tickover.provider.docker.storage import NetworkHandler, VolumeHandler

    made = (
        RemoteImageHandler(),
        TagHandler(),
        RegistryImageHandler(),
        VolumeHandler(),
        NetworkHandler(),
        ContainerHandler(),
    )
    return {handler.token: handler for handler in made}


class DockerProvider(Local):
    """The provider verbs. connect: how the engine is reached (tests put a fake there)."""

    def __init__(
        self,
        log: ProviderLog,
        *,
        connect: Callable[..., Daemon] = Daemon,
        environ: Mapping[str, str] | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._log = log
        self._connect = connect
        self._environ = os.environ if environ is None else environ
        self._sleep = sleep
        self._handlers = _handlers()
        self._inputs: PropertyMap = {}
        self._daemon: Daemon | None = None
        self._cancelled = asyncio.Event()

    @property
    def supports_preview(self) -> bool:
        return True

    # -- the provider itself --------------------------------------------------------------------------

    async def check_config(self, request: CheckRequest) -> CheckResult:
        return CheckResult(*check_config(request.news))

    async def diff_config(self, request: DiffRequest) -> DiffResult:
        """As the real plugin: another engine or other credentials are an update of the provider."""
        old, new = reveal(request.old_inputs or request.old_outputs), reveal(request.news)
        changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
        return DiffResult(changes=bool(changed), changed_keys=tuple(changed))

    async def configure(self, request: ConfigureRequest) -> None:
        await self.close()
        self._inputs = dict(request.inputs)

    async def cancel(self) -> None:
        self._cancelled.set()

    async def close(self) -> None:
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            await daemon.close()

    async def invoke(self, token: str, args: PropertyMap) -> InvokeResult:
        from tickover.provider.docker import functions

        run = self._run("", f"function {token.rsplit(':', 1)[-1]}", args)
        return await until_done(functions.invoke(run, token, args), run, 0)

    # -- resources ------------------------------------------------------------------------------------

    async def check(self, request: CheckRequest) -> CheckResult:
        token = _type_of(request.urn)
        handler = self._handlers.get(token)
        if handler is None:
            noun = token.rsplit(":", 1)[-1]
            why = REFUSED.get(token, "")
            return CheckResult(request.news, (CheckFailure("", needs_plugin(f"docker.{noun}", why)),))
        return handler.check(request)

    async def diff(self, request: DiffRequest) -> DiffResult:
        return self._handler(request.urn).diff(request)

    async def create(self, request: CreateRequest) -> CreateResult:
        handler = self._handler(request.urn)
        if request.preview:
            return CreateResult("", handler.preview(request.news))
        run = self._run(request.urn, handler.describe(request.news), request.news)
        return await until_done(handler.create(run, request), run, request.timeout_seconds)

    async def update(self, request: UpdateRequest) -> UpdateResult:
        handler = self._handler(request.urn)
        if request.preview:
            return UpdateResult(handler.preview(request.news, request.old_outputs))
        run = self._run(request.urn, handler.describe(request.news, request.id), request.news)
        return await until_done(handler.update(run, request), run, request.timeout_seconds)

    async def read(self, request: ReadRequest) -> ReadResult:
        handler = self._handler(request.urn)
        run = self._run(request.urn, handler.describe(request.inputs, request.id), request.inputs)
        return await until_done(handler.read(run, request), run, 0)

    async def delete(self, request: DeleteRequest) -> None:
        handler = self._handler(request.urn)
        run = self._run(request.urn, handler.describe(request.inputs, request.id), request.inputs)
        await until_done(handler.delete(run, request), run, request.timeout_seconds)

    def _handler(self, urn: str) -> Handler:
        token = _type_of(urn)
        try:
            return self._handlers[token]
        except KeyError:
            raise TickoverError(
                "not-covered",
                "Resource type not covered",
                needs_plugin(f"docker.{token.rsplit(':', 1)[-1]}", REFUSED.get(token, "")),
                urn,
                exit_code=Exit.CONFIGURATION,
            ) from None

    def _run(self, urn: str, what: str, inputs: PropertyMap) -> Run:
        if self._daemon is None:
            if contains_unknown(self._inputs):
                raise Unavailable("provider docker is configured with values that are not known yet")
            self._daemon = self._connect(resolve(self._inputs, self._environ))
        logins = self._daemon.settings.logins.values()
        hidden = faults.secrets_in(dict(inputs)) | {login.password for login in logins}
        hidden |= faults.environment_values(reveal(inputs.get("envs")))
        return Run(
            self._daemon,
            self._log,
            urn,
            what,
            self._cancelled,
            self._sleep,
            frozenset(hidden),
        )


def _type_of(urn: str) -> str:
    """The type token of a URN, without the types of its parents."""
    parts = urn.split("::")
    return parts[2].rsplit("$", 1)[-1] if len(parts) > 3 else ""

"""Provider "tickover" for the engine's protocol: FC resources through the FC API, host or cloud.

Owns: the table of handlers, the lazily made client, and which resource declares which object. Promises:
check, diff and preview need no credential and no network; two resources that declare one object are
refused; a resource never deletes an object that another one declares. Never: prints, stores anything.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

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
    ProviderFactory,
    ProviderLog,
    ReadRequest,
    ReadResult,
    Unavailable,
    Unimplemented,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import PropertyMap, contains_unknown, reveal
from tickover.errors import Exit, TickoverError
from tickover.fc.client import Connection, FcClient, Unreachable
from tickover.fc.errors import FcError
from tickover.provider import shape
from tickover.provider.config import check_config, resolve
from tickover.provider.faults import explain
from tickover.provider.fronts import CustomDomainHandler, TriggerHandler
from tickover.provider.functions import AliasHandler, FunctionHandler, FunctionVersionHandler
from tickover.provider.handler import Handler
from tickover.provider.pools import ConcurrencyConfigHandler, ProvisionConfigHandler
from tickover.provider.run import Api, Clock, NotReady, RealClock, Run

HANDLERS: Mapping[str, Handler] = {
    handler.token: handler
    for handler in (
        FunctionHandler(),
        FunctionVersionHandler(),
        AliasHandler(),
        ProvisionConfigHandler(),
        ConcurrencyConfigHandler(),
        TriggerHandler(),
        CustomDomainHandler(),
    )
}


def factory(home: Path | None) -> ProviderFactory:
    """Makes providers that find a local host through the data home."""

    def make(log: ProviderLog) -> TickoverProvider:
        return TickoverProvider(log, home)

    return make


def type_of(urn: str) -> str:
    """The type token of a URN, without the types of its parents."""
    parts = urn.split("::")
    return parts[2].rsplit("$", 1)[-1] if len(parts) > 3 else ""


def _handler(urn: str) -> Handler:
    token = type_of(urn)
    try:
        return HANDLERS[token]
    except KeyError:
        known = "\n".join(sorted(HANDLERS))
        raise TickoverError(
            "unknown-type",
            "Unknown resource type",
            f'Provider tickover has no type "{token}". It has:',
            urn,
            known,
            Exit.CONFIGURATION,
        ) from None


class TickoverProvider(Local):
    """The provider verbs. connect: how a client is made for a connection (tests put a fake there)."""

    def __init__(
        self,
        log: ProviderLog,
        home: Path | None = None,
        *,
        connect: Callable[[Connection], Api] = FcClient,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._home = home
        self._connect = connect
        self._clock = clock or RealClock()
        self._environ = os.environ if environ is None else environ
        self._inputs: PropertyMap = {}
        self._connected: tuple[Connection, Api] | None = None
        self._cancelled = asyncio.Event()
        # (type, id) → URN of the resource that declared it in this operation.
        self._declared: dict[tuple[str, str], str] = {}

    @property
    def supports_preview(self) -> bool:
        return True

    # -- the provider itself --------------------------------------------------------------------------

    async def check_config(self, request: CheckRequest) -> CheckResult:
        return CheckResult(*check_config(request.news))

    async def diff_config(self, request: DiffRequest) -> DiffResult:
        """Another target, account or region is another world; other credentials are an update."""
        old, new = reveal(request.old_inputs or request.old_outputs), reveal(request.news)
        changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
        moved = [
            k
            for k in ("target", "region", "accountId")
            if k in changed and old.get(k) is not None and not contains_unknown(new.get(k))
        ]
        return DiffResult(changes=bool(changed), replaces=tuple(moved))

    async def configure(self, request: ConfigureRequest) -> None:
        self._inputs = dict(request.inputs)
        self._connected = None

    async def cancel(self) -> None:
        self._cancelled.set()

    async def close(self) -> None:
        self._connected = None

    async def invoke(self, token: str, args: PropertyMap) -> InvokeResult:
        raise Unimplemented(f"provider tickover has no function {token}")

    # -- resources ------------------------------------------------------------------------------------

    async def check(self, request: CheckRequest) -> CheckResult:
        handler = _handler(request.urn)
        result = handler.check(request)
        if reveal(self._inputs).get("target") == "cloud":
            known, _ = shape.known_part(result.inputs)
            result = CheckResult(result.inputs, (*result.failures, *handler.only_on_host(known)))
        id = handler.id_of(result.inputs)
        if not id:
            return result
        owner = self._declared.setdefault((handler.token, id), request.urn)
        if owner == request.urn:
            return result
        clash = CheckFailure(
            handler.ids[-1],
            f"{handler.describe(id)} is declared twice: resource {owner.rsplit('::', 1)[-1]} of this program "
            "declares it too. Give one of them another name.",
        )
        return CheckResult(result.inputs, (*result.failures, clash))

    async def diff(self, request: DiffRequest) -> DiffResult:
        return _handler(request.urn).diff(request)

    async def create(self, request: CreateRequest) -> CreateResult:
        handler = _handler(request.urn)
        if request.preview:
            return CreateResult(handler.id_of(request.news), handler.preview(request.news))
        what = handler.describe(handler.id_of(request.news))
        async with self._run(request.urn, what, request.timeout_seconds or handler.default_seconds) as run:
            return await handler.create(run, request)

    async def update(self, request: UpdateRequest) -> UpdateResult:
        handler = _handler(request.urn)
        if request.preview:
            return UpdateResult(handler.preview(request.news, request.old_outputs))
        what = handler.describe(request.id)
        async with self._run(request.urn, what, request.timeout_seconds or handler.default_seconds) as run:
            return await handler.update(run, request)

    async def read(self, request: ReadRequest) -> ReadResult:
        handler = _handler(request.urn)
        async with self._run(request.urn, handler.describe(request.id), handler.default_seconds) as run:
            return await handler.read(run, request)

    async def delete(self, request: DeleteRequest) -> None:
        handler = _handler(request.urn)
        owner = self._declared.get((handler.token, request.id), request.urn)
        what = handler.describe(request.id)
        async with self._run(request.urn, what, request.timeout_seconds or handler.default_seconds) as run:
            if owner != request.urn:
                run.say(
                    f"{what} stays: resource {owner.rsplit('::', 1)[-1]} declares it now", ephemeral=False
                )
                return
            await handler.delete(run, request)

    @asynccontextmanager
    async def _run(self, urn: str, what: str, seconds: float) -> AsyncIterator[Run]:
        """A run whose foreign errors leave as `TickoverError`; `InitFailed` passes."""
        connection, api = self._api()
        target = str(reveal(self._inputs.get("target")) or "host")
        deadline = self._clock.now() + seconds
        try:
            yield Run(api, self._log, urn, target, self._clock, deadline, self._cancelled)
        except (FcError, Unreachable) as error:
            raise explain(error, what, connection, target) from error
        except NotReady as error:
            raise TickoverError(
                "still-there", "Deletion did not finish", f"{what}: {error.reason}", what, "", Exit.TIMEOUT
            ) from error

    def _api(self) -> tuple[Connection, Api]:
        if self._connected is None:
            if contains_unknown(self._inputs):
                raise Unavailable("provider tickover is configured with values that are not known yet")
            connection = resolve(self._inputs, self._home, self._environ)
            self._connected = (connection, self._connect(connection))
        return self._connected

"""Provider "tickover" as a Pulumi plugin: the same provider behind gRPC, for the real CLI.

Owns: the wire form of the verbs and the plugin's process. Promises: the port is the first line on stdout,
nothing else goes there; secrets and unknowns survive; a partial creation carries ErrorResourceInitFailed.
Never: knows a resource type.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from tickover.engine import wire
from tickover.engine.provider import (
    CheckFailure,
    CheckRequest,
    CheckResult,
    ConfigureRequest,
    CreateRequest,
    DeleteRequest,
    DiffKind,
    DiffRequest,
    DiffResult,
    InitFailed,
    Provider,
    ReadRequest,
    Severity,
    Unavailable,
    Unimplemented,
    UpdateRequest,
)
from tickover.engine.values import PropertyMap
from tickover.errors import TickoverError
from tickover.paths import data_home, project_root
from tickover.provider.enginelog import EngineLog
from tickover.provider.provider import HANDLERS, TickoverProvider
from tickover.provider.schema import schema_text

MESSAGE_BYTES = 400 * 1024 * 1024
_GRACE_SECONDS = 2.0
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
)


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """The verbs over gRPC. connect_log: how the engine's log is reached once its address is known."""

    def __init__(self, provider: Provider, log: EngineLog) -> None:
        self._provider = provider
        self._log = log
        self._keep_secrets = True

    def _encode(self, values: PropertyMap) -> Any:
        return wire.encode(values, keep_secrets=self._keep_secrets)

    # -- the plugin -----------------------------------------------------------------------------------

    async def Handshake(self, request: Any, context: Any) -> Any:
        if request.engine_address:
            self._log.attach(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True)

    async def Attach(self, request: Any, context: Any) -> Any:
        self._log.attach(request.address)
        return Empty()

    async def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=_version())

    async def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=schema_text(HANDLERS, _version()))

    async def Cancel(self, request: Any, context: Any) -> Any:
        await self._provider.cancel()
        return Empty()

    # -- provider configuration -----------------------------------------------------------------------

    async def CheckConfig(self, request: Any, context: Any) -> Any:
        return await self._answer(context, self._check(request, self._provider.check_config))

    async def DiffConfig(self, request: Any, context: Any) -> Any:
        return await self._answer(context, self._diff(request, self._provider.diff_config))

    async def Configure(self, request: Any, context: Any) -> Any:
        self._keep_secrets = request.acceptSecrets
        if request.HasField("args"):
            inputs = wire.decode(request.args)
        else:
            inputs = {key.rsplit(":", 1)[-1]: value for key, value in request.variables.items()}

        async def configure() -> Any:
            await self._provider.configure(ConfigureRequest(inputs, request.urn, request.id))
            return provider_pb2.ConfigureResponse(
                acceptSecrets=True, supportsPreview=self._provider.supports_preview, acceptResources=True
            )

        return await self._answer(context, configure())

    # -- resources ------------------------------------------------------------------------------------

    async def Check(self, request: Any, context: Any) -> Any:
        return await self._answer(context, self._check(request, self._provider.check))

    async def _check(self, request: Any, verb: Callable[[CheckRequest], Awaitable[CheckResult]]) -> Any:
        olds = wire.decode(request.olds) if request.HasField("olds") else None
        result = await verb(CheckRequest(request.urn, olds, wire.decode(request.news), request.randomSeed))
        return provider_pb2.CheckResponse(
            inputs=self._encode(result.inputs), failures=[_failure(f) for f in result.failures]
        )

    async def Diff(self, request: Any, context: Any) -> Any:
        return await self._answer(context, self._diff(request, self._provider.diff))

    async def _diff(self, request: Any, verb: Callable[[DiffRequest], Awaitable[DiffResult]]) -> Any:
        result = await verb(
            DiffRequest(
                request.urn,
                request.id,
                wire.decode(request.old_inputs),
                wire.decode(request.olds),
                wire.decode(request.news),
                tuple(request.ignoreChanges),
            )
        )
        for warning in result.warnings:
            self._log(Severity.WARNING, request.urn, warning)
        return diff_response(result)

    async def Create(self, request: Any, context: Any) -> Any:
        async def create() -> Any:
            asked = CreateRequest(
                request.urn, wire.decode(request.properties), request.timeout, request.preview
            )
            result = await self._provider.create(asked)
            return provider_pb2.CreateResponse(id=result.id, properties=self._encode(result.outputs))

        return await self._answer(context, create())

    async def Read(self, request: Any, context: Any) -> Any:
        async def read() -> Any:
            asked = ReadRequest(
                request.urn, request.id, wire.decode(request.inputs), wire.decode(request.properties)
            )
            result = await self._provider.read(asked)
            inputs = self._encode(result.inputs) if result.inputs is not None else None
            return provider_pb2.ReadResponse(
                id=result.id, properties=self._encode(result.outputs), inputs=inputs
            )

        return await self._answer(context, read())

    async def Update(self, request: Any, context: Any) -> Any:
        async def update() -> Any:
            asked = UpdateRequest(
                request.urn,
                request.id,
                wire.decode(request.old_inputs),
                wire.decode(request.olds),
                wire.decode(request.news),
                request.timeout,
                tuple(request.ignoreChanges),
                request.preview,
            )
            result = await self._provider.update(asked)
            return provider_pb2.UpdateResponse(properties=self._encode(result.outputs))

        return await self._answer(context, update())

    async def Delete(self, request: Any, context: Any) -> Any:
        async def delete() -> Any:
            await self._provider.delete(
                DeleteRequest(
                    request.urn,
                    request.id,
                    wire.decode(request.old_inputs),
                    wire.decode(request.properties),
                    request.timeout,
                )
            )
            return Empty()

        return await self._answer(context, delete())

    async def Invoke(self, request: Any, context: Any) -> Any:
        async def invoke() -> Any:
            result = await self._provider.invoke(request.tok, wire.decode(request.args))
            answer = provider_pb2.InvokeResponse(failures=[_failure(f) for f in result.failures])
            getattr(answer, "return").CopyFrom(self._encode(result.outputs))
            return answer

        return await self._answer(context, invoke())

    async def _answer(self, context: Any, work: Awaitable[Any]) -> Any:
        """The result of work, or its error in gRPC's form; log lines go out before either."""
        try:
            result = await work
        except InitFailed as error:
            await self._log.flush()
            await self._abort_partial(context, error)
        except Unimplemented as error:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
        except Unavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except TickoverError as error:
            await self._log.flush()
            # Not Unknown: the CLI would take the resource's state for lost.
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        await self._log.flush()
        return result

    async def _abort_partial(self, context: Any, error: InitFailed) -> NoReturn:
        detail = provider_pb2.ErrorResourceInitFailed(
            id=error.id, properties=self._encode(error.outputs), reasons=list(error.reasons)
        )
        if error.inputs is not None:
            detail.inputs.CopyFrom(self._encode(error.inputs))
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
        status.details.add().Pack(detail)
        await context.abort(
            grpc.StatusCode.UNKNOWN,
            str(error),
            trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
        )
        raise AssertionError("abort raises. This is a bug in tickover.")


def diff_response(result: DiffResult) -> Any:
    """A diff as Pulumi's message."""
    response = provider_pb2.DiffResponse
    changes = {None: response.DIFF_UNKNOWN, True: response.DIFF_SOME, False: response.DIFF_NONE}
    return response(
        changes=changes[result.changes],
        replaces=list(result.replaces),
        stables=list(result.stables),
        deleteBeforeReplace=result.delete_before_replace,
        diffs=sorted({path.split(".", 1)[0].split("[", 1)[0] for path in result.detailed}),
        detailedDiff={
            path: provider_pb2.PropertyDiff(kind=_kind(change.kind), inputDiff=change.input_diff)
            for path, change in result.detailed.items()
        },
        hasDetailedDiff=bool(result.detailed),
    )


def _kind(kind: DiffKind) -> Any:
    return provider_pb2.PropertyDiff.Kind.Value(kind.name)


def _failure(failure: CheckFailure) -> Any:
    return provider_pb2.CheckFailure(property=failure.property, reason=failure.reason)


def _version() -> str:
    try:
        return version("tickover")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0.0.0"


def _home() -> Path | None:
    """The data home of the project that the plugin was started in."""
    try:
        return data_home(project_root(Path.cwd()))
    except TickoverError:
        return None  # no project here: endpoint and credentials must then be given


async def serve(engine_address: str, announce: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM."""
    log = EngineLog()
    if engine_address:
        log.attach(engine_address)
    provider = TickoverProvider(log, _home())
    server = grpc.aio.server(options=_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider, log), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    announce(port)
    await stopped.wait()
    await provider.cancel()
    await server.stop(_GRACE_SECONDS)
    await log.close()


def main() -> None:
    """The console script: ``pulumi-resource-tickover [flags] ENGINE_ADDRESS``."""
    addresses = [argument for argument in sys.argv[1:] if not argument.startswith("-")]

    def announce(port: int) -> None:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()

    with suppress(KeyboardInterrupt):
        asyncio.run(serve(addresses[-1] if addresses else "", announce))


if __name__ == "__main__":
    main()

"""A provider behind gRPC, as the engine's `Provider`.

Owns: the translation of every verb to its message and back. Promises: a peer gets only what it said it
understands (secrets unwrapped, references lowered, unknowns only in a preview), and what comes back is
secret wherever it was; an object that exists is never lost from an answer. Never: decides what to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn

from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2

from tickover.engine import wire
from tickover.engine.packages import Parameterization
from tickover.engine.plugins.connection import Connection
from tickover.engine.plugins.errors import OutcomeUnknown, Partial
from tickover.engine.plugins.marks import all_secret, has_unknown, remark, without_unknowns
from tickover.engine.plugins.messages import (
    CHANGES,
    NOTHING,
    Accepts,
    as_variable,
    check_failures,
    detailed_diff,
    name_it,
    package_of,
    unfinished,
)
from tickover.engine.provider import (
    CheckRequest,
    CheckResult,
    ConfigureRequest,
    CreateRequest,
    CreateResult,
    DeleteRequest,
    DiffRequest,
    DiffResult,
    InitFailed,
    InvokeResult,
    ReadRequest,
    ReadResult,
    Unavailable,
    Unimplemented,
    UpdateRequest,
    UpdateResult,
)
from tickover.engine.values import PropertyMap, PropertyValue, contains_secret
from tickover.errors import TickoverError

_INTERNAL_KEY: Final = "__internal"  # the engine's own notes among a provider's inputs
_VERSION_KEY: Final = "version"


class PluginProvider:
    """The verbs over one connection. version: what the plugin says of itself, empty where it does not."""

    def __init__(self, connection: Connection, package: str) -> None:
        self._connection = connection
        self._package = package
        self._accepts = NOTHING
        self._shook_hands = False
        self._is_configured = False
        self.version = ""

    # -- before it is configured --------------------------------------------------------------------

    async def connect(self, engine_address: str, folder: str) -> None:
        """Wait for the peer and make each other known. folder: of the plugin, empty where unknown."""
        await self._connection.ready()
        await self._handshake(engine_address, folder)
        if self._connection.process is None:
            await self._attach(engine_address)
        await self._ask_version()

    async def _handshake(self, engine_address: str, folder: str) -> None:
        request = provider_pb2.ProviderHandshakeRequest(
            engine_address=engine_address, configure_with_urn=True, supports_refresh_before_update=True
        )
        if folder:
            request.root_directory = request.program_directory = folder
        try:
            answer = await self._connection.call("Handshake", request)
        except Unimplemented:  # older ones say what they accept when they are configured
            return
        self._shook_hands = True
        self._accepts = Accepts(
            answer.accept_secrets,
            answer.accept_resources,
            answer.accept_outputs,
            previews=True,
            naming=answer.supports_autonaming_configuration,
        )

    async def _attach(self, engine_address: str) -> None:
        """Tell a provider that was running already where the engine is."""
        with suppress(Unimplemented):  # then it logs elsewhere
            await self._connection.call("Attach", plugin_pb2.PluginAttach(address=engine_address))

    async def _ask_version(self) -> None:
        """Learn the plugin's version, where it tells it."""
        try:
            self.version = (await self._connection.call("GetPluginInfo", Empty())).version
        except Unimplemented:
            self.version = ""

    async def become(self, parameterization: Parameterization) -> None:
        """Turn a generic provider into the one of parameterization."""
        value = provider_pb2.ParameterizeRequest.ParametersValue(
            name=parameterization.name, version=parameterization.version, value=parameterization.value
        )
        answer = await self.parameterize(provider_pb2.ParameterizeRequest(value=value))
        self._package = answer.name or parameterization.name

    async def parameterize(
        self, request: provider_pb2.ParameterizeRequest
    ) -> provider_pb2.ParameterizeResponse:
        answer: provider_pb2.ParameterizeResponse = await self._connection.call("Parameterize", request)
        return answer

    async def check_config(self, request: CheckRequest) -> CheckResult:
        message = provider_pb2.CheckRequest(
            news=NOTHING.encode(request.news, unknowns=True),
        )
        if request.olds is not None:
            message.olds.CopyFrom(NOTHING.encode(request.olds, unknowns=True))
        name_it(message, request.urn)
        answer = await self._connection.call("CheckConfig", message, request.urn, request.news, request.olds)
        return CheckResult(remark(wire.decode(answer.inputs), request.news), check_failures(answer.failures))

    async def diff_config(self, request: DiffRequest) -> DiffResult:
        return await self._diff("DiffConfig", request, NOTHING)

    async def configure(self, request: ConfigureRequest) -> None:
        inputs = {key: value for key, value in request.inputs.items() if key != _INTERNAL_KEY}
        if has_unknown(inputs):  # only a preview; it stays as it is and answers nothing of its own
            return
        package = package_of(request.urn) or self._package
        message = provider_pb2.ConfigureRequest(
            variables={
                f"{package}:config:{key}": as_variable(value)
                for key, value in inputs.items()
                if key != _VERSION_KEY
            },
            args=wire.encode(inputs),
            acceptSecrets=True,
            acceptResources=True,
            sends_old_inputs=True,
            sends_old_inputs_to_delete=True,
        )
        if request.urn:
            name_it(message, request.urn)
        if request.id:
            message.id = request.id
        try:
            answer = await self._connection.call("Configure", message, request.urn, inputs)
        except Unimplemented as error:
            raise self._lacks("Configure", request.urn) from error
        if not self._shook_hands:
            self._accepts = Accepts(
                answer.acceptSecrets,
                answer.acceptResources,
                answer.acceptOutputs,
                answer.supportsPreview,
                answer.supports_autonaming_configuration,
            )
        self._is_configured = True

    @property
    def supports_preview(self) -> bool:
        return self._accepts.previews

    # -- resources ----------------------------------------------------------------------------------

    async def check(self, request: CheckRequest) -> CheckResult:
        if not self._is_configured:
            return CheckResult(dict(request.news))
        message = provider_pb2.CheckRequest(
            olds=self._accepts.encode(request.olds or {}, unknowns=True),
            news=self._accepts.encode(request.news, unknowns=True),
            randomSeed=request.random_seed,
        )
        proposed = request.proposed
        warnings: tuple[str, ...] = ()
        if proposed is not None and self._accepts.naming:
            mode = provider_pb2.CheckRequest.AutonamingOptions.Mode.Value(proposed.mode.value)
            message.autonaming.proposed_name, message.autonaming.mode = proposed.name, mode
        elif proposed is not None and proposed.is_expected:
            warnings = (
                f"The provider {self._package} names it as it always does: it knows no autonaming config.",
            )
        answer = await self._ask("Check", message, request.urn, request.news, request.olds)
        inputs = self._back(answer.inputs, request.news)
        return CheckResult(inputs, check_failures(answer.failures), warnings)

    async def diff(self, request: DiffRequest) -> DiffResult:
        if not self._is_configured:
            raise Unavailable(
                f"The provider {self._package} has inputs that are not known during preview, so the preview "
                "may not show every change."
            )
        return await self._diff("Diff", request, self._accepts)

    async def create(self, request: CreateRequest) -> CreateResult:
        if request.preview and not self._is_configured:
            return CreateResult("", {})
        message = provider_pb2.CreateRequest(
            properties=self._accepts.encode(request.news, unknowns=request.preview),
            timeout=request.timeout_seconds,
            preview=request.preview,
        )
        try:
            answer = await self._ask("Create", message, request.urn, request.news)
        except Partial as partial:
            self._partial(partial, request.news)
        if not answer.id and not request.preview:
            raise OutcomeUnknown(
                "provider-no-id",
                "Create answered no id",
                f"The provider {self._package} says that the resource was created and not under which id, so "
                "it cannot be kept in the state. Look for it by hand.",
                address=request.urn,
            )
        outputs = self._back(answer.properties, request.news)
        if not request.preview and has_unknown(outputs):
            raise unfinished(answer.id, outputs)
        return CreateResult(answer.id, outputs, answer.refresh_before_update)

    async def update(self, request: UpdateRequest) -> UpdateResult:
        if request.preview and not self._is_configured:
            return UpdateResult({})
        message = provider_pb2.UpdateRequest(
            id=request.id,
            olds=self._accepts.encode(request.old_outputs),
            old_inputs=self._accepts.encode(request.old_inputs),
            news=self._accepts.encode(request.news, unknowns=request.preview),
            timeout=request.timeout_seconds,
            ignoreChanges=request.ignore_changes,
            preview=request.preview,
        )
        sent = (request.news, request.old_inputs, request.old_outputs)
        try:
            answer = await self._ask("Update", message, request.urn, *sent)
        except Partial as partial:
            self._partial(partial, request.news, request.id)
        outputs = self._back(answer.properties, request.news)
        if not request.preview and has_unknown(outputs):
            raise unfinished(request.id, outputs)
        return UpdateResult(outputs, answer.refresh_before_update)

    async def delete(self, request: DeleteRequest) -> None:
        message = provider_pb2.DeleteRequest(
            id=request.id,
            properties=self._accepts.encode(request.outputs),
            old_inputs=self._accepts.encode(request.inputs),
            timeout=request.timeout_seconds,
        )
        await self._ask("Delete", message, request.urn, request.outputs, request.inputs)

    async def read(self, request: ReadRequest) -> ReadResult:
        if not self._is_configured:
            return ReadResult(request.id, {}, {})
        message = provider_pb2.ReadRequest(
            id=request.id,
            properties=self._accepts.encode(request.outputs),
        )
        if request.inputs:  # without them the provider knows that this is an import
            message.inputs.CopyFrom(self._accepts.encode(request.inputs))
        try:
            answer = await self._ask("Read", message, request.urn, request.outputs, request.inputs)
        except Partial as partial:
            self._partial(partial, request.outputs, request.id, request.inputs)
        inputs = self._back(answer.inputs, request.inputs) if answer.HasField("inputs") else None
        outputs = self._back(answer.properties, request.outputs)
        return ReadResult(
            answer.id,
            without_unknowns(outputs),
            without_unknowns(inputs),
            answer.refresh_before_update,
        )

    # -- functions and components -------------------------------------------------------------------

    async def invoke(self, token: str, args: PropertyMap) -> InvokeResult:
        if not self._is_configured:
            return InvokeResult({})
        message = provider_pb2.InvokeRequest(tok=token, args=self._accepts.encode(args))
        answer = await self._connection.call("Invoke", message, token, args)
        outputs = wire.decode(getattr(answer, "return"), keep_unknowns=False)
        if contains_secret(args) and not self._accepts.secrets:
            outputs = all_secret(outputs)
        return InvokeResult(outputs, check_failures(answer.failures))

    async def construct(self, request: provider_pb2.ConstructRequest) -> provider_pb2.ConstructResponse:
        if not self._accepts.secrets:
            raise TickoverError(
                "provider-no-secrets",
                "Provider cannot make components",
                f"The provider {self._package} does not accept secrets, which components need.",
                address=request.name,
            )
        lowered = provider_pb2.ConstructRequest()
        lowered.CopyFrom(request)
        self._lower(lowered.inputs, self._accepts.resources)
        sent = wire.decode(request.inputs)
        answer: provider_pb2.ConstructResponse = await self._connection.call(
            "Construct", lowered, f"{request.type} {request.name}", sent
        )
        return answer

    async def call(self, request: provider_pb2.CallRequest) -> provider_pb2.CallResponse:
        lowered = provider_pb2.CallRequest()
        lowered.CopyFrom(request)
        self._lower(lowered.args, True)
        sent = wire.decode(request.args)
        answer: provider_pb2.CallResponse = await self._connection.call("Call", lowered, request.tok, sent)
        return answer

    async def cancel(self) -> None:
        await self._connection.cancel()

    async def close(self) -> None:
        await self._connection.close()

    # -- shared -------------------------------------------------------------------------------------

    async def _ask(self, verb: str, message: Any, urn: str, *sent: PropertyValue) -> Any:
        """The answer to a verb that every provider of resources has."""
        name_it(message, urn)
        try:
            return await self._connection.call(verb, message, urn, *sent)
        except Unimplemented as error:
            raise self._lacks(verb, urn) from error

    async def _diff(self, verb: str, request: DiffRequest, accepts: Accepts) -> DiffResult:
        message = provider_pb2.DiffRequest(
            id=request.id,
            olds=accepts.encode(request.old_outputs, unknowns=True),
            old_inputs=accepts.encode(request.old_inputs, unknowns=True),
            news=accepts.encode(request.news, unknowns=True),
            ignoreChanges=request.ignore_changes,
        )
        name_it(message, request.urn)
        sent = (request.news, request.old_inputs, request.old_outputs)
        ask: Callable[..., Awaitable[Any]] = self._connection.call if verb == "DiffConfig" else self._ask
        answer = await ask(verb, message, request.urn, *sent)
        return DiffResult(
            changes=CHANGES.get(answer.changes),
            replaces=tuple(answer.replaces),
            delete_before_replace=answer.deleteBeforeReplace,
            detailed=detailed_diff(answer),
            changed_keys=tuple(answer.diffs),
            stables=tuple(answer.stables),
        )

    def _back(self, struct: Any, sent: Mapping[str, PropertyValue]) -> PropertyMap:
        """An answer's values, secret where what was sent is and the peer could not know."""
        values = wire.decode(struct)
        return values if self._accepts.secrets else remark(values, sent)

    def _partial(
        self,
        partial: Partial,
        sent: Mapping[str, PropertyValue],
        id_: str = "",
        sent_inputs: Mapping[str, PropertyValue] | None = None,
    ) -> NoReturn:
        detail = partial.detail
        inputs = self._back(detail.inputs, sent_inputs or sent) if detail.HasField("inputs") else None
        raise InitFailed(
            detail.id or id_,
            without_unknowns(self._back(detail.properties, sent)),
            tuple(detail.reasons) or ("The provider says that the resource did not become ready.",),
            without_unknowns(inputs),
        ) from partial

    def _lower(self, struct: Any, keep_resources: bool) -> None:
        """Take from struct, in place, what the peer does not understand."""
        if self._accepts.outputs and keep_resources:
            return
        struct.CopyFrom(wire.encode(wire.decode(struct), keep_resources=keep_resources))

    def _lacks(self, verb: str, address: str) -> TickoverError:
        return TickoverError(
            "provider-lacks-verb",
            "Provider lacks a function",
            f"The provider {self._package} does not implement {verb}.",
            address=address,
        )

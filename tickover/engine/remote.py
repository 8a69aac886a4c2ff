"""Components and methods that another process implements.

Owns: the Construct and Call requests. Promises: the other process registers with the same monitor, so that
its resources are part of this run. Never: decides about a resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime.proto import provider_pb2, resource_pb2

from tickover.engine import wire
from tickover.engine.answers import Answer, Worker
from tickover.engine.failures import Failures
from tickover.engine.program import ORGANIZATION
from tickover.engine.state import ResourceState
from tickover.engine.transforms import Draft
from tickover.errors import TickoverError


@dataclass(slots=True)
class Remote:
    """open_monitor: serves this run's monitor; entered when first needed, left by `close`."""

    project: str
    stack: str
    config: Mapping[str, str]
    secret_keys: tuple[str, ...]
    dry_run: bool
    parallel: int
    open_monitor: Any = None
    _monitor: AbstractAsyncContextManager[str] | None = None
    _address: str = ""
    _opening: Any = field(default=None)

    async def address(self) -> str:
        """Where the monitor of this run is served."""
        if not self._address:
            self._monitor = self.open_monitor()
            self._address = await self._monitor.__aenter__()
        return self._address

    async def close(self) -> None:
        if self._monitor is not None:
            await self._monitor.__aexit__(None, None, None)
            self._monitor, self._address = None, ""

    async def construct(
        self,
        worker: Worker,
        request: resource_pb2.RegisterResourceRequest,
        draft: Draft,
        failures: Failures,
    ) -> Answer:
        """A component that its provider builds. Raises TickoverError."""
        options = draft.options
        provider, is_configured = worker.provider(options.provider, draft.name)
        if not is_configured:
            raise TickoverError(
                "not-configured",
                "Provider is not configured",
                "The component's provider cannot build it before its own configuration is known.",
                address=draft.name,
            )
        message = provider_pb2.ConstructRequest(
            project=self.project,
            stack=self.stack,
            organization=ORGANIZATION,
            config=dict(self.config),
            configSecretKeys=list(self.secret_keys),
            dryRun=self.dry_run,
            parallel=self.parallel,
            monitorEndpoint=await self.address(),
            type=draft.type,
            name=draft.name,
            parent=draft.parent,
            inputs=draft.properties,
            inputDependencies={
                key: provider_pb2.ConstructRequest.PropertyDependencies(
                    urns=sorted({*urns, *wire.dependencies_of(draft.properties.fields[key])})
                )
                for key, urns in draft.property_dependencies.items()
                if key in draft.properties.fields
            },
            providers=dict(options.providers),
            dependencies=list(options.depends_on),
            additionalSecretOutputs=list(options.additional_secret_outputs),
            deletedWith=options.deleted_with,
            ignoreChanges=list(options.ignore_changes),
            replaceOnChanges=list(options.replace_on_changes),
            replace_with=list(options.replace_with),
            aliases=list(options.aliases),
            accepts_output_values=True,
        )
        _fill_options(message, options)
        answer = await provider.construct(message)
        outputs = wire.decode(answer.state)
        dependencies = {key: tuple(value.urns) for key, value in answer.stateDependencies.items()}
        for key, value in answer.state.fields.items():
            found = wire.dependencies_of(value)
            if found:
                dependencies[key] = tuple(sorted({*dependencies.get(key, ()), *found}))
        state = ResourceState(urn=answer.urn, type=draft.type, custom=False, outputs=outputs)
        return Answer(state, property_dependencies=dependencies)

    async def call(
        self, worker: Worker, request: resource_pb2.ResourceCallRequest, reference: str
    ) -> provider_pb2.CallResponse:
        """A method of a resource. Raises TickoverError."""
        provider, is_configured = worker.provider(reference, request.tok)
        if not is_configured:
            return provider_pb2.CallResponse()
        message = provider_pb2.CallRequest(
            tok=request.tok,
            args=request.args,
            project=self.project,
            stack=self.stack,
            organization=ORGANIZATION,
            config=dict(self.config),
            configSecretKeys=list(self.secret_keys),
            dryRun=self.dry_run,
            parallel=self.parallel,
            monitorEndpoint=await self.address(),
            accepts_output_values=True,
        )
        for key, value in request.args.fields.items():
            given = request.argDependencies[key].urns if key in request.argDependencies else ()
            message.argDependencies[key].urns.extend(sorted({*given, *wire.dependencies_of(value)}))
        answer = await provider.call(message)
        result = provider_pb2.CallResponse(failures=answer.failures)
        returned = getattr(answer, "return")
        for key, value in returned.fields.items():
            given = answer.returnDependencies[key].urns if key in answer.returnDependencies else ()
            result.returnDependencies[key].urns.extend(sorted({*given, *wire.dependencies_of(value)}))
        getattr(result, "return").CopyFrom(wire.encode(wire.decode(returned)))
        return result


def _fill_options(
    message: provider_pb2.ConstructRequest, options: resource_pb2.TransformResourceOptions
) -> None:
    """Options that say something only if they are set."""
    if options.HasField("protect"):
        message.protect = options.protect
    if options.HasField("retain_on_delete"):
        message.retainOnDelete = options.retain_on_delete
    if options.HasField("delete_before_replace"):
        message.deleteBeforeReplace = options.delete_before_replace
    if options.HasField("custom_timeouts"):
        given = options.custom_timeouts
        message.customTimeouts.create = given.create
        message.customTimeouts.update = given.update
        message.customTimeouts.delete = given.delete
    if options.HasField("hooks"):
        message.resource_hooks.ParseFromString(options.hooks.SerializeToString())
    if options.HasField("replacement_trigger"):
        message.replacement_trigger.CopyFrom(options.replacement_trigger)

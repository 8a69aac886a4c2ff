"""The resource monitor and engine that the SDK talks to, as plain objects in this process.

Owns: the translation of the SDK's calls into calls of a `Registrar`, from the program's threads to the
engine's loop. Promises: what is not served answers UNIMPLEMENTED, which the SDK tolerates. Never: decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import callback_pb2, engine_pb2, provider_pb2, resource_pb2

from tickover.engine import wire
from tickover.engine.answers import Result
from tickover.engine.program import ORGANIZATION, ProgramRun
from tickover.engine.provider import InvokeResult, Severity
from tickover.engine.values import PropertyMap
from tickover.engine.versionrange import LEVEL, in_range
from tickover.errors import TickoverError

T = TypeVar("T")

# Id of the older SupportsFeature call → feature.
_FEATURES: Final = {
    "secrets": resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    "resourceReferences": resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    "outputValues": resource_pb2.RESOURCE_MONITOR_FEATURE_OUTPUT_VALUES,
    "aliasSpecs": resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    "replacementTrigger": resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACEMENT_TRIGGER,
    "deletedWith": resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    "replaceWith": resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
    "transforms": resource_pb2.RESOURCE_MONITOR_FEATURE_TRANSFORMS,
    "invokeTransforms": resource_pb2.RESOURCE_MONITOR_FEATURE_INVOKE_TRANSFORMS,
    "parameterization": resource_pb2.RESOURCE_MONITOR_FEATURE_PARAMETERIZATION,
    "resourceHooks": resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS,
    "errorHooks": resource_pb2.RESOURCE_MONITOR_FEATURE_ERROR_HOOKS,
    "sendsOptionsToHooks": resource_pb2.RESOURCE_MONITOR_FEATURE_SENDS_OPTIONS_TO_HOOKS,
    "invokeDependsOn": resource_pb2.RESOURCE_MONITOR_FEATURE_INVOKE_DEPENDS_ON,
    "invokeParent": resource_pb2.RESOURCE_MONITOR_FEATURE_INVOKE_PARENT,
}
_SEVERITIES: Final = {
    engine_pb2.DEBUG: Severity.DEBUG,
    engine_pb2.INFO: Severity.INFO,
    engine_pb2.WARNING: Severity.WARNING,
    engine_pb2.ERROR: Severity.ERROR,
}


class RpcFailure(grpc.RpcError):  # type: ignore[misc]
    """A failed call, in the form the SDK expects from gRPC."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


class Stopping(Exception):
    """No further resource is begun: another one failed, or somebody asked to stop."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The answer to a registration. id None: not known yet. result: anything but SUCCESS was reported
    already, and the program is to go on as if the resource were unknown."""

    urn: str
    id: str | None
    outputs: PropertyMap
    property_dependencies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    result: Result = Result.SUCCESS
    unknown: bool = False


class Registrar(Protocol):
    """Who answers. The failures it raises reach the program as errors of the call."""

    async def register(self, request: resource_pb2.RegisterResourceRequest) -> Registered: ...
    async def register_outputs(self, urn: str, outputs: PropertyMap) -> None: ...
    async def read(self, request: resource_pb2.ReadResourceRequest) -> Registered: ...
    async def invoke(self, request: resource_pb2.ResourceInvokeRequest) -> InvokeResult | None: ...
    async def call(self, request: resource_pb2.ResourceCallRequest) -> provider_pb2.CallResponse: ...
    def register_package(self, request: resource_pb2.RegisterPackageRequest) -> str: ...
    def register_stack_transform(self, callback: callback_pb2.Callback) -> None: ...
    def register_stack_invoke_transform(self, callback: callback_pb2.Callback) -> None: ...
    def register_hook(self, request: resource_pb2.RegisterResourceHookRequest) -> None: ...
    def register_error_hook(self, request: resource_pb2.RegisterErrorHookRequest) -> None: ...


class Monitor:
    """Stands where the SDK expects a ResourceMonitorStub."""

    def __init__(self, run: ProgramRun, registrar: Registrar, loop: asyncio.AbstractEventLoop) -> None:
        self._run = run
        self._registrar = registrar
        self._loop = loop
        self._running: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self.has_registered_all = asyncio.Event()  # the program is through, and waits for what follows
        self._released = asyncio.Event()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return _refusal(name)

    async def finish(self) -> None:
        """Answer no further call, and wait for those that run: their effect outlives the program."""
        self._is_closed = True
        self._released.set()
        while self._running:
            await asyncio.wait(set(self._running))

    async def stop(self) -> None:
        """End the calls that run, and answer no further one."""
        self._is_closed = True
        self._released.set()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def release(self) -> None:
        """Let a program that waits for the end of the operation go."""
        self._released.set()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the engine's loop; called on a program thread."""
        if self._is_closed:
            work.close()
            raise RpcFailure(grpc.StatusCode.UNAVAILABLE, "the operation has ended")
        try:
            return asyncio.run_coroutine_threadsafe(self._tracked(work), self._loop).result()
        except (Stopping, futures.CancelledError) as stop:
            raise RpcFailure(grpc.StatusCode.UNAVAILABLE, str(stop) or "the operation has ended") from stop
        except TickoverError as error:
            raise RpcFailure(grpc.StatusCode.UNKNOWN, str(error)) from error

    async def _tracked(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            return await work
        finally:
            self._running.discard(task)

    def GetDeploymentInfo(self, _: Any) -> resource_pb2.DeploymentInfo:
        run = self._run
        return resource_pb2.DeploymentInfo(
            project=run.project,
            stack=run.stack,
            organization=ORGANIZATION,
            config=dict(run.config),
            configSecretKeys=list(run.secret_keys),
            dryRun=run.dry_run,
            parallel=run.parallel,
            supportedFeatures=list(_FEATURES.values()),
        )

    def SupportsFeature(
        self, request: resource_pb2.SupportsFeatureRequest
    ) -> resource_pb2.SupportsFeatureResponse:
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in _FEATURES)

    def RegisterResource(
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        answer = self._call(self._registrar.register(request))
        return resource_pb2.RegisterResourceResponse(
            urn=answer.urn,
            id=answer.id or "",
            object=wire.encode(answer.outputs),
            result=resource_pb2.SUCCESS if answer.result is Result.SUCCESS else resource_pb2.FAIL,
            unknown=answer.unknown,
            propertyDependencies={
                key: resource_pb2.RegisterResourceResponse.PropertyDependencies(urns=list(urns))
                for key, urns in answer.property_dependencies.items()
            },
        )

    def RegisterResourceOutputs(
        self, request: resource_pb2.RegisterResourceOutputsRequest
    ) -> empty_pb2.Empty:
        self._call(self._registrar.register_outputs(request.urn, wire.decode(request.outputs)))
        return empty_pb2.Empty()

    def ReadResource(self, request: resource_pb2.ReadResourceRequest) -> resource_pb2.ReadResourceResponse:
        answer = self._call(self._registrar.read(request))
        return resource_pb2.ReadResourceResponse(
            urn=answer.urn,
            properties=wire.encode(answer.outputs),
            unknown=answer.unknown,
            id=answer.id or "",
        )

    def Invoke(self, request: resource_pb2.ResourceInvokeRequest) -> resource_pb2.ResourceInvokeResponse:
        result = self._call(self._registrar.invoke(request))
        if result is None:
            return resource_pb2.ResourceInvokeResponse(unknown=True)
        response = resource_pb2.ResourceInvokeResponse(
            failures=[
                provider_pb2.CheckFailure(property=f.property, reason=f.reason) for f in result.failures
            ]
        )
        getattr(response, "return").CopyFrom(wire.encode(result.outputs))
        return response

    def Call(self, request: resource_pb2.ResourceCallRequest) -> provider_pb2.CallResponse:
        return self._call(self._registrar.call(request))

    def RegisterPackage(
        self, request: resource_pb2.RegisterPackageRequest
    ) -> resource_pb2.RegisterPackageResponse:
        reference = self._now(lambda: self._registrar.register_package(request))
        return resource_pb2.RegisterPackageResponse(ref=reference)

    def RegisterStackTransform(self, request: callback_pb2.Callback) -> empty_pb2.Empty:
        self._now(lambda: self._registrar.register_stack_transform(request))
        return empty_pb2.Empty()

    def RegisterStackInvokeTransform(self, request: callback_pb2.Callback) -> empty_pb2.Empty:
        self._now(lambda: self._registrar.register_stack_invoke_transform(request))
        return empty_pb2.Empty()

    def RegisterResourceHook(self, request: resource_pb2.RegisterResourceHookRequest) -> empty_pb2.Empty:
        self._now(lambda: self._registrar.register_hook(request))
        return empty_pb2.Empty()

    def RegisterErrorHook(self, request: resource_pb2.RegisterErrorHookRequest) -> empty_pb2.Empty:
        self._now(lambda: self._registrar.register_error_hook(request))
        return empty_pb2.Empty()

    def _now(self, work: Callable[[], T]) -> T:
        """Run what does not wait on the engine's loop."""

        async def run() -> T:
            return work()

        return self._call(run())

    def SignalAndWaitForShutdown(self, _: Any) -> empty_pb2.Empty:
        self._call(self._wait_for_release())
        return empty_pb2.Empty()

    async def _wait_for_release(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.discard(task)  # it is the program that waits, not the engine for it
        self.has_registered_all.set()
        await self._released.wait()


class EngineLog:
    """Stands where the SDK expects an EngineStub."""

    def __init__(
        self, say: Callable[[Severity, str, str, bool], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._say = say
        self._loop = loop
        self._root = ""

    def Log(self, request: engine_pb2.LogRequest) -> empty_pb2.Empty:
        severity = _SEVERITIES.get(request.severity, Severity.INFO)
        if severity is not Severity.DEBUG:  # four debug lines a resource, for nobody
            self._loop.call_soon_threadsafe(
                self._say, severity, request.urn, request.message, request.ephemeral
            )
        return empty_pb2.Empty()

    def RequirePulumiVersion(self, request: Any) -> Any:
        wanted = request.pulumi_version_range
        if not in_range(LEVEL, wanted):
            raise RpcFailure(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the program requires Pulumi {wanted}; this engine is at the level of Pulumi {LEVEL}",
            )
        return engine_pb2.RequirePulumiVersionResponse()

    def SetRootResource(self, request: Any) -> Any:
        self._root = request.urn
        return engine_pb2.SetRootResourceResponse()

    def GetRootResource(self, _: Any) -> Any:
        return engine_pb2.GetRootResourceResponse(urn=self._root)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return _refusal(name)


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RpcFailure(grpc.StatusCode.UNIMPLEMENTED, f"tickover's engine does not serve {name}")

    return refuse

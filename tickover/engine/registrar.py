"""Turns the SDK's requests into goals and hands each to a worker, in a dry run and in an apply alike.

Owns: what was registered in this run, and default providers. Promises: a parent comes first, a URN comes
once; every failure is reported once, by name. Never: decides or calls a provider for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pulumi.runtime.proto import callback_pb2, provider_pb2, resource_pb2

from tickover.engine import packageinputs, registration, wire
from tickover.engine.answers import Answer, Result, Worker
from tickover.engine.assets import hashed
from tickover.engine.failures import Failures, explained
from tickover.engine.goal import Goal, in_project, package_of
from tickover.engine.hooks import Hooks
from tickover.engine.monitor import Registered, Stopping
from tickover.engine.packagerefs import Packages, default_name, identity
from tickover.engine.packages import PackageSpec
from tickover.engine.provider import InvokeResult
from tickover.engine.remote import Remote
from tickover.engine.state import ResourceState
from tickover.engine.tracker import Tracker
from tickover.engine.transforms import Transforms
from tickover.engine.urn import PROVIDER_TYPE_PREFIX, STACK_TYPE, is_provider_type, make_urn
from tickover.engine.values import PropertyMap, PropertyValue, Secret
from tickover.errors import Exit, TickoverError

UNKNOWN_ID: Final = wire.UNKNOWN_STRING
DYNAMIC: Final = "pulumi-python"
_RESOURCE_MARK: Final = "@isPulumiResource"


@dataclass(slots=True)
class ProgramRegistrar:
    """The `monitor.Registrar` of one run. goals, states: by URN, in the order they were answered."""

    project: str
    stack: str
    config: Mapping[str, str]
    secret_keys: tuple[str, ...]
    worker: Worker
    failures: Failures
    root: Path  # of the project
    transforms: Transforms
    hooks: Hooks
    packages: Packages
    remote: Remote
    continue_on_error: bool = False
    goals: dict[str, Goal] = field(default_factory=dict)
    states: dict[str, ResourceState] = field(default_factory=dict)
    stack_outputs: PropertyMap | None = None
    _claimed: set[str] = field(default_factory=set)
    _defaults: dict[PackageSpec, asyncio.Task[str]] = field(default_factory=dict)
    _component_providers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _tracker: Tracker = field(default_factory=Tracker)

    # -- registrations --------------------------------------------------------------------------------

    async def register(self, request: resource_pb2.RegisterResourceRequest) -> Registered:
        with self._tracker.in_flight(request.parent):
            try:
                return await self._register(request)
            except Stopping:
                raise
            except TickoverError as error:
                self.failures.add(error.address or request.name, error)
                raise

    async def _register(self, request: resource_pb2.RegisterResourceRequest) -> Registered:
        parent = self._parent(request.parent, request.name)
        draft = registration.draft_of(request, parent, self._component_providers)
        own = self.transforms.own(request, (request.parent, request.type, request.name))
        applying = self.transforms.applying(own, request.parent)
        draft = await self.transforms.transformed(draft, applying, bool(own))
        options = draft.options
        is_provider = is_provider_type(draft.type)
        if (draft.custom or request.remote) and not is_provider and not options.provider:
            options.provider = await self.default_provider(
                package_of(draft.type), options.version, options.plugin_download_url, request.packageRef
            )
        for name, reference in registration.component_providers(draft, self._component_providers).items():
            if not draft.custom:
                options.providers[name] = reference
        if request.remote:
            answer = await self.remote.construct(self.worker, request, draft, self.failures)
            urn = answer.state.urn
        else:
            spec = self.packages.find(request.packageRef) if is_provider else None
            goal = registration.goal_of(draft, request, self.stack, self.project, spec)
            goal = replace(
                goal,
                source_position=in_project(goal.source_position, self.root),
                inputs=await hashed(goal.inputs, self.root),
            )
            urn = goal.urn
            answer = await self._answered(goal)
        self.transforms.remember(urn, request.parent, own)
        if not draft.custom:
            self._component_providers[urn] = dict(options.providers)
        exists = bool(answer.state.id) and not answer.unknown
        self._tracker.track(urn, request.parent, draft.custom, exists)
        return Registered(
            urn=urn,
            id=answer.state.id or None,
            outputs=answer.state.outputs if draft.custom or request.remote else {},
            property_dependencies=dict(answer.property_dependencies),
            result=answer.result,
            unknown=answer.unknown,
        )

    async def _answered(self, goal: Goal) -> Answer:
        try:
            answer = await self._reported(goal)
        except TickoverError:
            if not self.continue_on_error or goal.is_provider:
                raise
            answer = Answer(goal.as_state(goal.inputs), Result.FAILED)
        self.goals.setdefault(goal.urn, goal)
        self.states[goal.urn] = answer.state
        return answer

    async def _reported(self, goal: Goal) -> Answer:
        """What the worker says, with whatever is raised turned into a report."""
        try:
            self._claim(goal.urn, goal.type, goal.name)
            return await self.worker.handle(goal)
        except Stopping:
            raise
        except Exception as error:
            report = explained(goal.urn, error, goal.inputs)
            self.failures.add(goal.urn, report)
            raise report from error

    def _claim(self, urn: str, type_: str, name: str) -> None:
        if urn in self._claimed:
            raise TickoverError(
                "duplicate-urn",
                "Two resources of one name",
                f"The program declares two resources of type {type_} named {name!r} in one place. "
                "Give one of them another name.",
                address=urn,
                exit_code=Exit.CONFIGURATION,
            )
        self._claimed.add(urn)

    def _parent(self, parent: str, name: str) -> Goal | None:
        if not parent:
            return None
        if parent not in self.goals:
            raise registration.unknown_parent(name, parent)
        return self.goals[parent]

    async def register_outputs(self, urn: str, outputs: PropertyMap) -> None:
        if urn not in self.goals:
            raise TickoverError(
                "unknown-resource", "Resource is not registered", "It gives outputs before that.", urn
            )
        outputs = await hashed(outputs, self.root)
        if self.goals[urn].type == STACK_TYPE:
            self.stack_outputs = {key: _unmarked(value) for key, value in outputs.items()}
            return  # settled at the end, when it is known whether all went well
        self.states[urn] = await self.worker.outputs(self.states[urn], outputs)

    async def settle_stack_outputs(self, old: PropertyMap, has_failed: bool) -> PropertyMap:
        """The stack's outputs now: after a failure, those that the program did not give stay."""
        if self.stack_outputs is None:
            return old if has_failed else {}
        outputs = {**old, **self.stack_outputs} if has_failed else self.stack_outputs
        urn = next((u for u, g in self.goals.items() if g.type == STACK_TYPE), "")
        if urn:
            self.states[urn] = await self.worker.outputs(self.states[urn], outputs)
        return outputs

    def stop(self) -> None:
        """End what still runs on behalf of the program."""
        for task in self._defaults.values():
            task.cancel()

    # -- reads and functions -----------------------------------------------------------------------------

    async def read(self, request: resource_pb2.ReadResourceRequest) -> Registered:
        try:
            self._parent(request.parent, request.name)
            provider = request.provider
            if not provider and not is_provider_type(request.type):
                provider = await self.default_provider(
                    package_of(request.type), request.version, request.pluginDownloadURL, request.packageRef
                )
            goal = Goal(
                urn=make_urn(self.stack, self.project, request.parent, request.type, request.name),
                type=request.type,
                name=request.name,
                custom=True,
                parent=request.parent,
                inputs=wire.decode(request.properties),
                provider=provider,
                dependencies=tuple(sorted(set(request.dependencies))),
                additional_secret_outputs=tuple(request.additionalSecretOutputs),
                source_position=in_project(registration.position_of(request.sourcePosition), self.root),
            )
        except TickoverError as error:
            self.failures.add(error.address or request.name, error)
            raise
        try:
            self._claim(goal.urn, goal.type, goal.name)
            answer = await self.worker.read(goal, request.id)
        except Stopping:
            raise
        except Exception as error:
            report = explained(goal.urn, error, goal.inputs)
            self.failures.add(goal.urn, report)
            raise report from error
        self.goals[goal.urn] = goal
        self.states[goal.urn] = answer.state
        self._tracker.track(goal.urn, goal.parent, True, bool(answer.state.id))
        return Registered(goal.urn, answer.state.id or None, answer.state.outputs, unknown=answer.unknown)

    async def invoke(self, request: resource_pb2.ResourceInvokeRequest) -> InvokeResult | None:
        package = package_of(request.tok)
        options = resource_pb2.TransformInvokeOptions(
            provider=request.provider or self._component_providers.get(request.parent, {}).get(package, ""),
            version=request.version,
            plugin_download_url=request.pluginDownloadURL,
            plugin_checksums=dict(request.pluginChecksums),
        )
        struct, options = await self.transforms.transformed_invoke(request.tok, request.args, options)
        provider = options.provider or await self.default_provider(
            package, options.version, options.plugin_download_url, request.packageRef
        )
        if request.dependsOn and await self._tracker.has_unresolved(request.dependsOn):
            return None
        args = wire.decode(struct)
        try:
            return await self.worker.invoke(provider, request.tok, args)
        except Stopping:
            raise
        except Exception as error:
            raise explained(request.tok, error, args) from error

    async def call(self, request: resource_pb2.ResourceCallRequest) -> provider_pb2.CallResponse:
        reference = await self._callee(request)
        try:
            return await self.remote.call(self.worker, request, reference)
        except Stopping:
            raise
        except Exception as error:
            report = explained(request.tok, error, wire.decode(request.args))
            self.failures.add(request.tok, report)
            raise report from error

    async def _callee(self, request: resource_pb2.ResourceCallRequest) -> str:
        """ "urn::id" of the provider that serves a method."""
        self_ = (
            request.args.fields["__self__"].struct_value.fields if "__self__" in request.args.fields else {}
        )
        urn = self_["urn"].string_value if "urn" in self_ else ""
        if is_provider_type(request.tok.rsplit("/", 1)[0]):
            return f"{urn}::{self_['id'].string_value}"
        if request.provider:
            return request.provider
        goal = self.goals.get(urn)
        if goal is not None and goal.provider:
            return goal.provider
        return await self.default_provider(
            package_of(request.tok), request.version, request.pluginDownloadURL, request.packageRef
        )

    # -- what else the program registers -----------------------------------------------------------------

    def register_package(self, request: resource_pb2.RegisterPackageRequest) -> str:
        return self.packages.register(request)

    def register_stack_transform(self, callback: callback_pb2.Callback) -> None:
        self.transforms.stack.append(callback)

    def register_stack_invoke_transform(self, callback: callback_pb2.Callback) -> None:
        self.transforms.invokes.append(callback)

    def register_hook(self, request: resource_pb2.RegisterResourceHookRequest) -> None:
        self.hooks.register(request)

    def register_error_hook(self, request: resource_pb2.RegisterErrorHookRequest) -> None:
        self.hooks.register_on_error(request)

    def find(self, urn: str) -> ResourceState | None:
        """A resource of this run."""
        return self.states.get(urn)

    # -- default providers ---------------------------------------------------------------------------------

    async def default_provider(self, package: str, version: str, url: str, reference: str) -> str:
        """'urn::id' of the default provider, registered when first needed."""
        spec = self.packages.default(package, version, url, reference)
        key = identity(spec)
        if key not in self._defaults:
            self._defaults[key] = asyncio.create_task(self._register_default(spec))
        return await asyncio.shield(self._defaults[key])

    def _config_of(self, package: str) -> PropertyMap:
        """The stack config of a package; dynamic providers, which are the program's own, get all of it."""
        if package == "pulumi":
            return {}
        everything = package == DYNAMIC
        return {
            key if everything else key.split(":", 1)[1]: Secret(text) if key in self.secret_keys else text
            for key, text in self.config.items()
            if everything or key.startswith(f"{package}:")
        }

    async def _register_default(self, spec: PackageSpec) -> str:
        package, name = spec.package, default_name(spec)
        inputs = self._config_of(package)
        type_ = PROVIDER_TYPE_PREFIX + package
        goal = Goal(
            urn=make_urn(self.stack, self.project, "", type_, name),
            type=type_,
            name=name,
            custom=True,
            inputs=packageinputs.with_spec(inputs, spec),
        )
        answer = await self._reported(goal)
        self.goals[goal.urn] = goal
        self.states[goal.urn] = answer.state
        return f"{goal.urn}::{answer.state.id or UNKNOWN_ID}"


def _unmarked(value: PropertyValue) -> PropertyValue:
    """A stack output without the mark that the SDK leaves, in a dry run only, on what was a resource."""
    match value:
        case Secret():
            return Secret(_unmarked(value.value))
        case list():
            return [_unmarked(item) for item in value]
        case dict():
            return {k: _unmarked(v) for k, v in value.items() if k != _RESOURCE_MARK}
        case _:
            return value

"""The providers of one run.

Owns: provider instances, by the URN of their provider resource. Promises: each is configured once before
use and closed at the end; an object is worked on with the configuration it was made with, as long as the
state knows that; a package of this process is used only where no plugin is asked for or found. Never:
decides what happens to a resource.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tickover.engine import packageinputs
from tickover.engine.packages import PackageSpec, PluginSource
from tickover.engine.provider import (
    CheckRequest,
    CheckResult,
    ConfigureRequest,
    DiffRequest,
    DiffResult,
    Provider,
    ProviderFactory,
    ProviderLog,
    Severity,
    Unimplemented,
)
from tickover.engine.state import ResourceState
from tickover.engine.urn import is_provider_type, split_reference
from tickover.engine.values import PropertyMap, contains_unknown
from tickover.errors import ConfigError, TickoverError

# Packages that stand in for a plugin of the same name until that is installed.
STAND_INS: Final = frozenset({"docker"})


@dataclass(slots=True)
class Handle:
    """is_configured False: its configuration is unknown, it can only answer Check and Diff of itself.

    is_replaced: in this run; what the one before it made is not its own. inputs: its configuration.
    former: the URN it had before this run.
    """

    provider: Provider
    is_configured: bool = False
    is_replaced: bool = False
    inputs: PropertyMap = field(default_factory=dict)
    former: str = ""

    async def check_config(self, request: CheckRequest) -> CheckResult:
        seen = CheckRequest(
            request.urn,
            None if request.olds is None else packageinputs.visible(request.olds),
            packageinputs.visible(request.news),
            request.random_seed,
        )
        try:
            answer = await self.provider.check_config(seen)
        except Unimplemented:
            return CheckResult(request.news)
        return CheckResult(packageinputs.checked(answer.inputs, request.news), answer.failures)

    async def diff_config(self, request: DiffRequest) -> DiffResult:
        """changes None where the provider cannot tell."""
        seen = DiffRequest(
            request.urn,
            request.id,
            packageinputs.visible(request.old_inputs),
            request.old_outputs,
            packageinputs.visible(request.news),
            request.ignore_changes,
        )
        try:
            return await self.provider.diff_config(seen)
        except Unimplemented:
            return DiffResult(None)


class ProviderEntries:
    """The provider resources of a state, by URN and by ``urn::id``."""

    def __init__(self, resources: Iterable[ResourceState]) -> None:
        found = [r for r in resources if is_provider_type(r.type)]
        self._by_reference = {f"{r.urn}::{r.id}": r for r in found}
        self._live = {r.urn: r for r in found if not r.delete}

    def live(self, urn: str) -> ResourceState | None:
        return self._live.get(urn)

    def named(self, reference: str) -> ResourceState | None:
        """The entry of "urn::id"."""
        urn = split_reference(reference)[0]
        return self._by_reference.get(reference) or self._live.get(urn)

    def of(self, resource: ResourceState) -> ResourceState:
        """The entry of the provider that resource was made with. Raises TickoverError if it is gone."""
        entry = self.named(resource.provider)
        if entry is None:
            raise TickoverError(
                "unknown-provider",
                "Provider is not in the state",
                f"The state has no provider resource {resource.provider}.",
                address=resource.urn,
            )
        return entry


class Providers:
    """Makes, configures and closes."""

    def __init__(
        self,
        factories: Mapping[str, ProviderFactory],
        log: ProviderLog,
        plugins: PluginSource | None = None,
    ) -> None:
        self._factories = dict(factories)
        self._plugins = plugins
        self._log = log
        self._handles: dict[str, asyncio.Task[Handle]] = {}
        self._ahead: list[tuple[PackageSpec, asyncio.Task[Handle]]] = []

    def add_builtin(self, package: str, factory: ProviderFactory) -> None:
        """The provider of a package that belongs to the run itself."""
        self._factories[package] = factory

    async def open(self, key: str, type_: str, inputs: PropertyMap, former: str = "") -> Handle:
        """The provider of a provider resource (key: its URN), not configured yet. Raises ConfigError if
        there is no such package."""
        if key not in self._handles:
            spec = packageinputs.spec_of(type_, inputs)
            self._handles[key] = self._taken(spec) or asyncio.ensure_future(self._made(key, spec))
        try:
            handle = await asyncio.shield(self._handles[key])
        except TickoverError:
            self._handles.pop(key, None)
            raise
        if former:
            handle.former = former
        return handle

    def open_ahead(self, resources: Iterable[ResourceState]) -> None:
        """Begin to start the plugins of a state's provider resources: the program will want them again, and
        takes as long to get there as they take to start. What is not wanted ends at `close`."""
        for resource in resources:
            if not is_provider_type(resource.type) or resource.delete or self._plugins is None:
                continue
            try:
                spec = packageinputs.spec_of(resource.type, resource.inputs)
            except ValueError:  # a state that cannot be read is told of where it is needed
                continue
            if self._factory(spec) is None:
                self._ahead.append((spec, asyncio.ensure_future(self._made(resource.urn, spec))))

    def _taken(self, spec: PackageSpec) -> asyncio.Task[Handle] | None:
        found = next((task for ahead, task in self._ahead if ahead == spec), None)
        self._ahead = [(ahead, task) for ahead, task in self._ahead if task is not found]
        return found

    def _factory(self, spec: PackageSpec) -> ProviderFactory | None:
        """Who makes the provider in this process; None where a plugin does."""
        factory = None if spec.parameterization is not None else self._factories.get(spec.name)
        if factory is not None and spec.name in STAND_INS and self._plugins and self._plugins.finds(spec):
            return None
        return factory

    async def _made(self, key: str, spec: PackageSpec) -> Handle:
        factory = self._factory(spec)
        if factory is not None:
            return Handle(factory(self._log))
        if self._plugins is None:
            known = ", ".join(sorted(self._factories))
            raise ConfigError(
                "no-provider",
                "Provider is not installed",
                f"A resource needs the provider {spec.name!r}; this tickover has {known}.",
                address=key,
            )
        return Handle(await self._plugins.open(spec, self._log))

    async def configure(self, handle: Handle, inputs: PropertyMap, urn: str, id: str) -> None:
        """Give it its configuration, unless part of that is unknown."""
        handle.inputs = inputs
        if contains_unknown(inputs) or handle.is_configured:
            return
        await handle.provider.configure(ConfigureRequest(packageinputs.visible(inputs), urn, id))
        handle.is_configured = True

    async def reconfigure(self, handle: Handle, type_: str, inputs: PropertyMap, urn: str, id: str) -> Handle:
        """A fresh instance for a provider whose configuration turned out otherwise than it was opened."""
        await self._discard(urn)
        fresh = await self.open(urn, type_, inputs, handle.former)
        fresh.is_replaced = handle.is_replaced
        await self.configure(fresh, inputs, urn, id)
        return fresh

    async def _discard(self, key: str) -> None:
        task = self._handles.pop(key, None)
        if task is not None and task.done() and not task.cancelled() and task.exception() is None:
            await task.result().provider.close()

    def of(self, reference: str, resource: str) -> Handle:
        """The provider that "urn::id" names. Raises TickoverError if it was not registered."""
        urn = split_reference(reference)[0]
        task = self._handles.get(urn)
        if task is None or not task.done():
            raise TickoverError(
                "unknown-provider",
                "Provider is not registered",
                f"The resource names the provider {urn}, which the program has not declared before it.",
                address=resource,
            )
        return task.result()

    def has(self, reference: str) -> bool:
        """True if the provider that "urn::id" names was registered in this run."""
        task = self._handles.get(split_reference(reference)[0])
        return task is not None and task.done()

    async def of_state(self, resource: ResourceState, entries: ProviderEntries) -> Provider:
        """The provider of a resource in a state; made from the state unless the program registered it."""
        return (await self.handle_of_state(resource, entries)).provider

    async def handle_of_state(self, resource: ResourceState, entries: ProviderEntries) -> Handle:
        """The same with what is known of it."""
        entry = entries.of(resource)
        task = self._handles.get(entry.urn)
        if task is not None:
            handle = await asyncio.shield(task)
            if handle.is_configured and not handle.is_replaced and entries.live(entry.urn) is entry:
                return handle
        handle = await self.open(f"{entry.urn}::{entry.id}", entry.type, entry.inputs)
        await self.configure(handle, entry.inputs, entry.urn, entry.id)
        return handle

    async def handle_for_run(self, entry: ResourceState) -> Handle:
        """The provider of a state's entry, as if the program had registered it."""
        handle = await self.open(entry.urn, entry.type, entry.inputs)
        await self.configure(handle, entry.inputs, entry.urn, entry.id)
        return handle

    def _ready(self) -> list[tuple[str, Handle]]:
        return [
            (key, task.result())
            for key, task in sorted(self._handles.items())
            if task.done() and not task.cancelled() and task.exception() is None
        ]

    async def cancel(self) -> None:
        """Tell all providers to give up waiting."""
        for key, handle in self._ready():
            try:
                await handle.provider.cancel()
            except Exception as error:  # noqa: BLE001 - the others must hear of it too
                self._log(Severity.WARNING, key, f"the provider could not be told to stop: {error}")

    async def close(self) -> None:
        """Close all; the next phase opens its own."""
        unused = [task for _, task in self._ahead]
        for task in (*self._handles.values(), *unused):
            if not task.done():
                task.cancel()
        await asyncio.gather(*unused, return_exceptions=True)
        self._handles |= {f"ahead {i}": task for i, task in enumerate(unused)}
        self._ahead.clear()
        for key, handle in self._ready():
            try:
                await handle.provider.close()
            except Exception as error:  # noqa: BLE001 - the others are to be closed too
                self._log(Severity.WARNING, key, f"the provider did not close cleanly: {error}")
        self._handles.clear()

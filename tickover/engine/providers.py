"""The providers of one run.

Owns: provider instances, by the URN of their provider resource. Promises: each is configured once before
use and closed at the end; an object is worked on with the configuration it was made with, as long as the
state knows that. Never: decides what happens to a resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tickover.engine.goal import package_of
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
        try:
            return await self.provider.check_config(request)
        except Unimplemented:
            return CheckResult(request.news)

    async def diff_config(self, request: DiffRequest) -> DiffResult:
        """changes None where the provider cannot tell."""
        try:
            return await self.provider.diff_config(request)
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

    def of(self, resource: ResourceState) -> ResourceState:
        """The entry of the provider that resource was made with. Raises TickoverError if it is gone."""
        urn = split_reference(resource.provider)[0]
        entry = self._by_reference.get(resource.provider) or self._live.get(urn)
        if entry is None:
            raise TickoverError(
                "unknown-provider",
                "Provider is not in the state",
                f"The state has no provider resource {urn}.",
                address=resource.urn,
            )
        return entry


class Providers:
    """Makes, configures and closes."""

    def __init__(self, factories: Mapping[str, ProviderFactory], log: ProviderLog) -> None:
        self._factories = factories
        self._log = log
        self._handles: dict[str, Handle] = {}

    def open(self, key: str, type_: str) -> Handle:
        """The provider of a provider resource (key: its URN), not configured yet. Raises ConfigError if
        there is no such package."""
        if key not in self._handles:
            package = package_of(type_)
            factory = self._factories.get(package)
            if factory is None:
                known = ", ".join(sorted(self._factories))
                raise ConfigError(
                    "no-provider",
                    "Provider is not installed",
                    f"A resource needs the provider {package!r}; this tickover has {known}.",
                    address=key,
                )
            self._handles[key] = Handle(factory(self._log))
        return self._handles[key]

    async def configure(self, handle: Handle, inputs: PropertyMap) -> None:
        """Give it its configuration, unless part of that is unknown."""
        handle.inputs = inputs
        if contains_unknown(inputs) or handle.is_configured:
            return
        await handle.provider.configure(ConfigureRequest(inputs))
        handle.is_configured = True

    def of(self, reference: str, resource: str) -> Handle:
        """The provider that "urn::id" names. Raises TickoverError if it was not registered."""
        urn = split_reference(reference)[0]
        if urn not in self._handles:
            raise TickoverError(
                "unknown-provider",
                "Provider is not registered",
                f"The resource names the provider {urn}, which the program has not declared before it.",
                address=resource,
            )
        return self._handles[urn]

    async def of_state(self, resource: ResourceState, entries: ProviderEntries) -> Provider:
        """The provider of a resource in a state; made from the state unless the program registered it."""
        entry = entries.of(resource)
        handle = self._handles.get(entry.urn)
        if handle is None or handle.is_replaced or entries.live(entry.urn) is not entry:
            handle = self.open(f"{entry.urn}::{entry.id}", entry.type)
            await self.configure(handle, entry.inputs)
        return handle.provider

    async def cancel(self) -> None:
        """Tell all providers to give up waiting."""
        for key in sorted(self._handles):
            try:
                await self._handles[key].provider.cancel()
            except Exception as error:  # noqa: BLE001 - the others must hear of it too
                self._log(Severity.WARNING, key, f"the provider could not be told to stop: {error}")

    async def close(self) -> None:
        for key in sorted(self._handles):
            try:
                await self._handles[key].provider.close()
            except Exception as error:  # noqa: BLE001 - the others are to be closed too
                self._log(Severity.WARNING, key, f"the provider did not close cleanly: {error}")
        self._handles.clear()

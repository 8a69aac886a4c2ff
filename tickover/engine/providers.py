"""The providers of one run.

Owns: provider instances, by the URN of their provider resource. Promises: each is configured once before
use and closed at the end. Never: decides what happens to a resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tickover.engine.goal import package_of
from tickover.engine.provider import Provider, ProviderFactory, ProviderLog
from tickover.engine.state import ResourceState
from tickover.engine.urn import split_reference
from tickover.engine.values import PropertyMap, contains_unknown
from tickover.errors import ConfigError, TickoverError


@dataclass(slots=True)
class Handle:
    """is_configured False: its configuration is unknown, it can only answer Check and Diff of itself."""

    provider: Provider
    is_configured: bool = False
    is_replaced: bool = False


class Providers:
    """Makes, configures and closes."""

    def __init__(self, factories: Mapping[str, ProviderFactory], log: ProviderLog) -> None:
        self._factories = factories
        self._log = log
        self._handles: dict[str, Handle] = {}

    def open(self, urn: str, type_: str) -> Handle:
        """The provider of a provider resource, not configured yet. Raises ConfigError if unknown."""
        if urn not in self._handles:
            package = package_of(type_)
            factory = self._factories.get(package)
            if factory is None:
                known = ", ".join(sorted(self._factories))
                raise ConfigError(
                    "no-provider",
                    "Provider is not installed",
                    f"A resource needs the provider {package!r}; this tickover has {known}.",
                    address=urn,
                )
            self._handles[urn] = Handle(factory(self._log))
        return self._handles[urn]

    async def configure(self, handle: Handle, inputs: PropertyMap) -> None:
        """Give it its configuration, unless part of that is unknown."""
        if contains_unknown(inputs) or handle.is_configured:
            return
        await handle.provider.configure(inputs)
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

    async def of_state(self, resource: ResourceState, prior: Mapping[str, ResourceState]) -> Provider:
        """The provider of a resource in a state; made from the state if the program did not register it."""
        urn = split_reference(resource.provider)[0]
        handle = self._handles.get(urn)
        if handle is None:
            entry = prior.get(urn)
            if entry is None:
                raise TickoverError(
                    "unknown-provider",
                    "Provider is not in the state",
                    f"The state has no provider resource {urn}.",
                    address=resource.urn,
                )
            handle = self.open(urn, entry.type)
            await self.configure(handle, entry.inputs)
        return handle.provider

    async def cancel(self) -> None:
        """Tell all providers to give up waiting."""
        for urn in sorted(self._handles):
            await self._handles[urn].provider.cancel()

    async def close(self) -> None:
        for urn in sorted(self._handles):
            await self._handles[urn].provider.close()
        self._handles.clear()

"""What cannot outlive a resource that is deleted before it is replaced.

Owns: the walk over its dependants. Promises: a dependant falls only if its provider says so of an unknown
input, if its provider falls, or if it asked to be replaced with one that does. Never: deletes.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from tickover.engine.consult import differs
from tickover.engine.decide import replace_keys_of
from tickover.engine.graph import dependants
from tickover.engine.providers import ProviderEntries, Providers
from tickover.engine.state import ResourceState
from tickover.engine.structdiff import with_unknown
from tickover.engine.urn import is_provider_type, split_reference


@dataclass(frozen=True, slots=True)
class Fallen:
    """keys: the properties that bring it down."""

    resource: ResourceState
    keys: tuple[str, ...] = ()


async def fallen(
    old: ResourceState,
    order: tuple[ResourceState, ...],
    settled: Container[str],
    providers: Providers,
    entries: ProviderEntries,
) -> tuple[Fallen, ...]:
    """Live resources that go before old does, in the order to delete them. order: the prior state's.

    settled: URNs whose step is decided already; they do not need old any more.
    """
    gone = {old.urn}
    found: list[Fallen] = []
    by_urn = {r.urn: r for r in order if not r.delete}
    for urn in dependants(order, old.urn):
        resource = by_urn.get(urn)
        if resource is None or urn in settled or not resource.custom or resource.external:
            continue
        keys = await _falls(resource, gone, providers, entries)
        if keys is not None:
            gone.add(urn)
            found.append(Fallen(resource, keys))
    for resource in order:
        with_ = resource.extra.get("replaceWith") or ()
        if resource.delete or resource.urn in gone or resource.urn in settled:
            continue
        if not gone.isdisjoint(with_):
            gone.add(resource.urn)
            found.append(Fallen(resource))
    return tuple(reversed(found))


async def _falls(
    resource: ResourceState, gone: set[str], providers: Providers, entries: ProviderEntries
) -> tuple[str, ...] | None:
    """The properties that bring it down; None if it can stay."""
    if resource.provider and split_reference(resource.provider)[0] in gone:
        return ()
    keys = [k for k, urns in resource.property_dependencies.items() if gone.intersection(urns)]
    keys = [k for k in keys if k in resource.inputs]
    if not keys or is_provider_type(resource.type):
        return None
    handle = await providers.handle_of_state(resource, entries)
    unknown = with_unknown(resource.inputs, keys)
    diff = await differs(handle, resource, unknown, resource.ignore_changes)
    found = replace_keys_of(diff, resource.replace_on_changes, False)
    return found or None

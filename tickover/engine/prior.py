"""The state before a run, by name.

Owns: look-ups in it. Promises: never changes. Never: decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickover.engine.providers import ProviderEntries
from tickover.engine.state import ResourceState


@dataclass(frozen=True, slots=True)
class Prior:
    """doomed: entries whose replacement is up and that still are to be deleted. order: the state's."""

    live: dict[str, ResourceState]
    doomed: tuple[ResourceState, ...]
    order: tuple[ResourceState, ...]
    providers: ProviderEntries

    @classmethod
    def of(cls, resources: tuple[ResourceState, ...]) -> Prior:
        return cls(
            {r.urn: r for r in resources if not r.delete},
            tuple(r for r in resources if r.delete),
            resources,
            ProviderEntries(resources),
        )

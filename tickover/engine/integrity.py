"""The rules every saved state obeys, the same as Pulumi's own.

Owns: the list of violations of a deployment. Promises: pure; every violation, in the order of the
resources. Never: repairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any

from tickover.engine.state import Deployment, ResourceState
from tickover.engine.urn import is_provider_type, is_urn, split_reference
from tickover.errors import TickoverError


@dataclass(frozen=True, slots=True)
class Violation:
    """urn: the resource that breaks a rule (or ``#3`` by index); message: what is wrong with it."""

    urn: str
    message: str

    def __str__(self) -> str:
        return f"{self.urn}: {self.message}"


def violations(deployment: Deployment) -> tuple[Violation, ...]:
    """Everything that is wrong with deployment; empty for a sound one."""
    return (*_each(deployment.resources), *_duplicates(deployment.resources))


def verify(deployment: Deployment, where: str) -> None:
    """Raises TickoverError if deployment is not sound. where: says which state, ``the saved state``."""
    found = violations(deployment)
    if found:
        shown = "\n".join(f"  {v}" for v in found[:10])
        more = f"\n  and {len(found) - 10} more" if len(found) > 10 else ""
        raise TickoverError(
            "state-integrity",
            "State is not sound",
            f"Pulumi's integrity rules are broken in {where}:\n{shown}{more}",
            address=found[0].urn,
        )


def _each(resources: tuple[ResourceState, ...]) -> Iterator[Violation]:
    everywhere = {r.urn for r in resources}
    seen: set[str] = set()
    providers: set[str] = set()
    for index, resource in enumerate(resources):
        name = resource.urn or f"#{index}"
        if not is_urn(resource.urn):
            yield Violation(name, "it has no valid URN" if resource.urn else "it has no URN")
        if not resource.type:
            yield Violation(name, "it has no type")
        if not resource.custom and resource.id:
            yield Violation(name, "it is a component and yet has an id")
        if is_provider_type(resource.type):
            providers.add(f"{resource.urn}::{resource.id}")
        yield from _provider(resource, name, providers)
        for kind, urn in _references(resource):
            if urn not in seen:
                place = "comes after it" if urn in everywhere and urn != resource.urn else "does not exist"
                yield Violation(name, f"its {kind} {urn} {place}")
        seen.add(resource.urn)


def _provider(resource: ResourceState, name: str, known: Set[str]) -> Iterator[Violation]:
    if not resource.provider:
        return
    try:
        split_reference(resource.provider)
    except TickoverError:
        yield Violation(name, f"its provider {resource.provider!r} is not the URN and id of a provider")
        return
    if resource.provider not in known and not resource.pending_replacement:
        yield Violation(name, f"its provider {resource.provider} does not exist before it")


def _references(resource: ResourceState) -> Iterator[tuple[str, str]]:
    """(kind, URN) of everything that must precede resource."""
    if resource.parent:
        yield "parent", resource.parent
    for urn in resource.dependencies:
        yield "dependency", urn
    for key in sorted(resource.property_dependencies):
        for urn in resource.property_dependencies[key]:
            yield f"dependency by `{key}`", urn
    if resource.deleted_with:
        yield "deletedWith", resource.deleted_with
    replace_with: Any = resource.extra.get("replaceWith") or ()
    for urn in replace_with:
        yield "replaceWith", str(urn)


def references(resource: ResourceState) -> frozenset[str]:
    """URNs that must precede resource, its provider's among them."""
    found = {urn for _, urn in _references(resource)}
    if resource.provider:
        found.add(resource.provider.rpartition("::")[0])
    return frozenset(found)


def _duplicates(resources: Iterable[ResourceState]) -> Iterator[Violation]:
    live = Counter(r.urn for r in resources if not r.delete)
    for urn in sorted(urn for urn, count in live.items() if count > 1):
        yield Violation(urn, f"it exists {live[urn]} times without being marked for deletion")

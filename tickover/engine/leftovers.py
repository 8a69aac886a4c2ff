"""What an operation that was cut off left undone, and how it is settled.

Owns: the fate of pending operations. Promises: the only record of an object that may exist is never dropped
before a later creation under that name, or a person, has settled it; what was being updated or deleted is
looked at before anything is decided about it. Never: deletes or creates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from tickover.engine.failures import Failures, explained
from tickover.engine.providers import ProviderEntries, Providers
from tickover.engine.refresher import read_again
from tickover.engine.snapshot import in_valid_order
from tickover.engine.state import Deployment, PendingOperation, PendingType, ResourceState
from tickover.engine.urn import is_provider_type

_INTERRUPTED: Final = "its last update was cut off"
_LOOKED_AT: Final = frozenset({PendingType.UPDATING, PendingType.DELETING})


@dataclass(frozen=True, slots=True)
class Settled:
    """deployment: with what was found; its pending operations are creations still to be settled."""

    deployment: Deployment
    has_changed: bool


def open_creations(deployment: Deployment) -> tuple[PendingOperation, ...]:
    """Creations that were cut off and that no later creation under the same name has settled."""
    live = {r.urn: r for r in deployment.resources if not r.delete}
    found: dict[str, PendingOperation] = {}
    for pending in deployment.pending_operations:
        if pending.type is PendingType.CREATING and not _is_settled(pending, live.get(pending.resource.urn)):
            found[pending.resource.urn] = pending
    return tuple(found.values())


def _is_settled(pending: PendingOperation, there: ResourceState | None) -> bool:
    """True if the entry of that name was made after the call that was cut off had begun. (An older entry
    is what the call was to replace.)"""
    if there is None or not there.id or there.pending_replacement:
        return False
    began, made = _moment(pending.resource.created), _moment(there.created)
    return began is not None and made is not None and made >= began


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def pruned(deployment: Deployment) -> Deployment:
    """deployment with those pending operations only that still say something."""
    others = tuple(p for p in deployment.pending_operations if p.type is not PendingType.CREATING)
    return replace(deployment, pending_operations=(*open_creations(deployment), *others))


def warnings(deployment: Deployment, stack: str) -> tuple[tuple[str, str], ...]:
    """(URN, message) for each pending operation."""
    return tuple((p.resource.urn, _warning(p, stack)) for p in deployment.pending_operations)


def _warning(pending: PendingOperation, stack: str) -> str:
    if pending.type is PendingType.CREATING:
        return (
            "an earlier run was interrupted while creating this: it may exist without being known. While it "
            "is declared, `up` creates it again, and a provider that goes by names finds it. Otherwise look "
            "yourself, and once it is gone forget it: "
            f"tickover stack export -s {stack} | tickover stack import -s {stack}"
        )
    return f"an earlier run was interrupted while {pending.type.value} this; it is looked at again"


async def settled(deployment: Deployment, providers: Providers, failures: Failures, must: bool) -> Settled:
    """deployment after a look at everything whose update or deletion was cut off.

    must: a look that fails is a failure; else a warning, and the update is taken for not done.
    """
    entries = ProviderEntries(deployment.resources)
    cut = {p.resource.urn: p.type for p in deployment.pending_operations if p.type in _LOOKED_AT}
    resources: list[ResourceState] = []
    for resource in deployment.resources:
        kind = cut.get(resource.urn)
        if kind is None or resource.delete or not _is_readable(resource):
            resources.append(resource)
            continue
        found: ResourceState | None = resource
        try:
            found = await read_again(resource, providers, entries)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises becomes a report
            report = explained(resource.urn, error, resource.inputs, resource.outputs)
            if must:
                failures.add(resource.urn, report)
            else:
                failures.warn(resource.urn, f"it could not be looked at again: {report.detail}")
        if found is not None and kind is PendingType.UPDATING and not found.init_errors:
            # What was read may still hide a half-done update: doing it again is the safe end of it.
            found = replace(found, init_errors=(_INTERRUPTED,))
        if found is not None:
            resources.append(found)
    result = replace(
        deployment,
        resources=in_valid_order(resources) if cut else deployment.resources,
        pending_operations=open_creations(deployment),
    )
    return Settled(result, result != deployment)


def _is_readable(resource: ResourceState) -> bool:
    return resource.custom and not is_provider_type(resource.type) and not resource.pending_replacement

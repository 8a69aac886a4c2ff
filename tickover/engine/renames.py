"""A state in which resources carry their new names.

Owns: the effect of aliases on a deployment: URNs, types and every reference to them. Promises: pure; a
rename calls no provider and can be saved by itself. Never: finds out what was renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tickover.engine.state import Deployment, PendingOperation, ResourceState
from tickover.engine.urn import parse_urn


def renamed(deployment: Deployment, names: Mapping[str, str]) -> Deployment:
    """deployment with each old URN (key) replaced by its new one, wherever it occurs."""
    return replace(
        deployment,
        resources=tuple(renamed_resource(r, names) for r in deployment.resources),
        pending_operations=tuple(
            PendingOperation(renamed_resource(p.resource, names), p.type)
            for p in deployment.pending_operations
        ),
    )


def renamed_resource(resource: ResourceState, names: Mapping[str, str]) -> ResourceState:
    """The same for one resource."""

    def name(urn: str) -> str:
        return names.get(urn, urn)

    extra = dict(resource.extra)
    if "replaceWith" in extra:
        extra["replaceWith"] = [name(urn) for urn in extra["replaceWith"]]
    urn = name(resource.urn)
    return replace(
        resource,
        urn=urn,
        type=resource.type if urn == resource.urn else parse_urn(urn).type,
        parent=name(resource.parent),
        provider=_reference(resource.provider, names),
        dependencies=tuple(name(d) for d in resource.dependencies),
        property_dependencies={
            key: tuple(name(d) for d in urns) for key, urns in resource.property_dependencies.items()
        },
        deleted_with=name(resource.deleted_with),
        extra=extra,
    )


def _reference(reference: str, names: Mapping[str, str]) -> str:
    urn, separator, id_ = reference.rpartition("::")
    return f"{names.get(urn, urn)}{separator}{id_}"

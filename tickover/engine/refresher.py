"""Reads what really is, and says where the state is behind.

Owns: the refresh of a deployment. Promises: resources that are gone leave the state, others get what the
provider says; drift is reported per property. Never: changes a real resource.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tickover.engine import wire
from tickover.engine.effects import now_rfc3339
from tickover.engine.failures import Failures, explained
from tickover.engine.plan import Op, Step
from tickover.engine.provider import InitFailed, ReadRequest, ReadResult, Unimplemented
from tickover.engine.providers import ProviderEntries, Providers
from tickover.engine.snapshot import in_valid_order
from tickover.engine.state import Deployment, PendingType, ResourceState
from tickover.engine.structdiff import compare
from tickover.engine.urn import is_provider_type, parse_urn


async def refreshed(
    deployment: Deployment, providers: Providers, failures: Failures, parallel: int
) -> tuple[Deployment, tuple[Step, ...]]:
    """The deployment as the providers see it now, and a step for each resource read."""
    entries = ProviderEntries(deployment.resources)
    limit = asyncio.Semaphore(max(parallel, 1))

    async def one(resource: ResourceState) -> tuple[ResourceState | None, Step | None]:
        if not _is_read(resource):
            return resource, None
        async with limit:
            try:
                return _compared(resource, await read_again(resource, providers, entries))
            except Exception as error:  # noqa: BLE001 - whatever a provider raises becomes a report
                failures.add(resource.urn, explained(resource.urn, error, resource.inputs, resource.outputs))
                return resource, None

    results = await asyncio.gather(*(one(r) for r in deployment.resources))
    kept = in_valid_order(r for r, _ in results if r is not None)
    for resource in kept:
        for reason in resource.init_errors:
            failures.warn(resource.urn, reason)
    pending = tuple(p for p in deployment.pending_operations if p.type is PendingType.CREATING)
    return (
        replace(deployment, resources=kept, pending_operations=pending),
        tuple(step for _, step in results if step is not None),
    )


def _is_read(resource: ResourceState) -> bool:
    return resource.custom and not is_provider_type(resource.type) and not resource.pending_replacement


async def read_again(
    resource: ResourceState, providers: Providers, entries: ProviderEntries
) -> ResourceState | None:
    """The resource as its provider says it is; None if it is gone; as it was where it cannot be read."""
    provider = await providers.of_state(resource, entries)
    errors: tuple[str, ...] = ()
    try:
        found = await provider.read(ReadRequest(resource.urn, resource.id, resource.inputs, resource.outputs))
    except Unimplemented:
        return resource
    except InitFailed as partial:
        found, errors = ReadResult(partial.id, partial.outputs, partial.inputs), partial.reasons
    if not found.id:
        return None
    inputs = resource.inputs if found.inputs is None else wire.remark_secrets(found.inputs, resource.inputs)
    outputs = wire.remark_secrets(found.outputs, resource.outputs)
    outputs = {
        k: wire.as_secret(v) if k in resource.additional_secret_outputs else v for k, v in outputs.items()
    }
    return replace(resource, id=found.id, inputs=inputs, outputs=outputs, init_errors=errors)


def _compared(old: ResourceState, new: ResourceState | None) -> tuple[ResourceState | None, Step]:
    if new is None:
        return None, _step(Op.DELETE, old, None, ("gone: it no longer exists",))
    drift = compare(old.inputs, new.inputs).detailed
    moved = compare(old.outputs, new.outputs).detailed
    if not drift and not moved:
        return new, _step(Op.REFRESH, old, new, ())
    keys = tuple(sorted(drift or moved))
    new = replace(new, modified=now_rfc3339())
    step = _step(Op.UPDATE, old, new, tuple(f"drifted: {key}" for key in keys))
    return new, replace(step, diff_keys=keys, detailed=drift or moved)


def _step(op: Op, old: ResourceState, new: ResourceState | None, reasons: tuple[str, ...]) -> Step:
    return Step(
        op=op,
        urn=old.urn,
        type=old.type,
        name=parse_urn(old.urn).name,
        custom=old.custom,
        parent=old.parent,
        old=old,
        new=new,
        reasons=reasons,
        source_position=old.source_position,
    )

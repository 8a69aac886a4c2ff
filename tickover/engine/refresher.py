"""Reads what really is, and says where the state is behind.

Owns: the refresh of a deployment. Promises: resources that are gone leave the state, others get what the
provider says; drift is reported per property. Never: changes a real resource.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tickover.engine import wire
from tickover.engine.execute import now_rfc3339
from tickover.engine.failures import Failures
from tickover.engine.plan import Op, Step
from tickover.engine.planner import Prior
from tickover.engine.provider import ReadRequest, Unimplemented
from tickover.engine.providers import Providers
from tickover.engine.snapshot import in_valid_order
from tickover.engine.state import Deployment, ResourceState
from tickover.engine.structdiff import compare
from tickover.engine.urn import is_provider_type, parse_urn
from tickover.errors import TickoverError


async def refreshed(
    deployment: Deployment, providers: Providers, failures: Failures, parallel: int
) -> tuple[Deployment, tuple[Step, ...]]:
    """The deployment as the providers see it now, and a step for each resource read."""
    prior = Prior.of(deployment.resources)
    limit = asyncio.Semaphore(max(parallel, 1))

    async def one(resource: ResourceState) -> tuple[ResourceState | None, Step | None]:
        if not _is_read(resource):
            return resource, None
        async with limit:
            try:
                return await _read(resource, providers, prior)
            except TickoverError as error:
                failures.add(resource.urn, error)
                return resource, None

    results = await asyncio.gather(*(one(r) for r in deployment.resources))
    kept = in_valid_order(r for r, _ in results if r is not None)
    pending = tuple(p for p in deployment.pending_operations if p.type.value == "creating")
    return (
        replace(deployment, resources=kept, pending_operations=pending),
        tuple(step for _, step in results if step is not None),
    )


def _is_read(resource: ResourceState) -> bool:
    return resource.custom and not is_provider_type(resource.type) and not resource.pending_replacement


async def _read(
    resource: ResourceState, providers: Providers, prior: Prior
) -> tuple[ResourceState | None, Step | None]:
    provider = await providers.of_state(resource, prior.live)
    try:
        found = await provider.read(ReadRequest(resource.urn, resource.id, resource.inputs, resource.outputs))
    except Unimplemented:
        return resource, None
    if not found.id:
        return None, _step(Op.DELETE, resource, None, ("gone: it no longer exists",))
    inputs = resource.inputs if found.inputs is None else wire.remark_secrets(found.inputs, resource.inputs)
    outputs = wire.remark_secrets(found.outputs, resource.outputs)
    new = replace(resource, id=found.id, inputs=inputs, outputs=outputs, init_errors=())
    drift = compare(resource.inputs, inputs).detailed
    moved = compare(resource.outputs, outputs).detailed
    if not drift and not moved:
        return new, _step(Op.REFRESH, resource, new, ())
    keys = tuple(sorted(drift or moved))
    new = replace(new, modified=now_rfc3339())
    step = _step(Op.UPDATE, resource, new, tuple(f"drifted: {key}" for key in keys))
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

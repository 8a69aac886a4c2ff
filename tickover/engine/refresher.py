"""Reads what really is, and says where the state is behind.

Owns: the refresh of a deployment. Promises: resources that are gone leave the state, others get what the
provider says; drift is reported per property. Never: changes a real resource.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tickover.engine import wire
from tickover.engine.consult import differs
from tickover.engine.effects import now_rfc3339
from tickover.engine.failures import Failures, explained
from tickover.engine.integrity import references
from tickover.engine.pendings import PendingCreations
from tickover.engine.plan import Op, Step
from tickover.engine.provider import InitFailed, ReadRequest, ReadResult, Unimplemented
from tickover.engine.providers import ProviderEntries, Providers
from tickover.engine.snapshot import in_valid_order
from tickover.engine.state import Deployment, PendingType, ResourceState
from tickover.engine.structdiff import compare
from tickover.engine.targeting import Choice, Targeting
from tickover.engine.urn import is_provider_type, parse_urn
from tickover.errors import Exit, TickoverError


async def refreshed(
    deployment: Deployment,
    providers: Providers,
    failures: Failures,
    parallel: int,
    choice: Choice | None = None,
    pending: PendingCreations | None = None,
) -> tuple[Deployment, tuple[Step, ...]]:
    """The deployment as the providers see it now, and a step for each resource read."""
    deployment = await _settled_creations(deployment, providers, failures, pending)
    entries = ProviderEntries(deployment.resources)
    allowed = _allowed(deployment, choice)
    limit = asyncio.Semaphore(max(parallel, 1))

    async def one(resource: ResourceState) -> tuple[ResourceState | None, Step | None]:
        if allowed is not None and resource.urn not in allowed:
            return resource, None
        if not _is_read(resource):
            return resource, _step(Op.REFRESH, resource, resource, ())
        async with limit:
            try:
                found = await read_again(resource, providers, entries)
                return await _compared(resource, found, providers, entries)
            except Exception as error:  # noqa: BLE001 - whatever a provider raises becomes a report
                failures.add(resource.urn, explained(resource.urn, error, resource.inputs, resource.outputs))
                return resource, None

    results = await asyncio.gather(*(one(r) for r in deployment.resources))
    kept = in_valid_order(r for r, _ in results if r is not None)
    for resource in kept:
        for reason in resource.init_errors:
            failures.warn(resource.urn, reason)
    open_ = tuple(p for p in deployment.pending_operations if p.type is PendingType.CREATING)
    return (
        replace(deployment, resources=kept, pending_operations=open_),
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


async def _compared(
    old: ResourceState, new: ResourceState | None, providers: Providers, entries: ProviderEntries
) -> tuple[ResourceState | None, Step]:
    """What is there now, and whether it drifted: whether an `up` with the old inputs would change it back."""
    if new is None:
        return None, _step(Op.DELETE, old, None, ("gone: it no longer exists",))
    drift = compare(old.inputs, new.inputs).detailed
    moved = compare(old.outputs, new.outputs).detailed
    if not drift and not moved:
        return new, _step(Op.REFRESH, old, new, ())
    new = replace(new, modified=now_rfc3339())
    if old.external:
        return new, _step(Op.REFRESH, old, new, ())
    handle = await providers.handle_of_state(old, entries)
    back = await differs(handle, new, old.inputs, old.ignore_changes)
    if not back.changes:
        return new, _step(Op.REFRESH, old, new, ())
    keys = tuple(sorted(drift or moved))
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


def _allowed(deployment: Deployment, choice: Choice | None) -> frozenset[str] | None:
    """URNs that a limited refresh looks at; None for all."""
    if choice is None or not choice.is_limited:
        return None
    targeting = Targeting(choice)
    return frozenset(
        r.urn
        for r in deployment.resources
        if targeting.includes(r.urn, {*references(r), r.provider.rpartition("::")[0]} - {""})
    )


async def _settled_creations(
    deployment: Deployment, providers: Providers, failures: Failures, pending: PendingCreations | None
) -> Deployment:
    """deployment after creations that were cut off were forgotten or taken over, where that was asked for."""
    if pending is None or not (pending.clear or pending.imports):
        return deployment
    entries = ProviderEntries(deployment.resources)
    resources, kept = list(deployment.resources), []
    for operation in deployment.pending_operations:
        urn = operation.resource.urn
        if operation.type is not PendingType.CREATING:
            kept.append(operation)
        elif urn in pending.imports:
            wanted = replace(operation.resource, id=pending.imports[urn])
            try:
                found = await read_again(wanted, providers, entries)
            except Exception as error:  # noqa: BLE001 - whatever a provider raises becomes a report
                failures.add(urn, explained(urn, error, wanted.inputs))
                found = None
            if found is None:
                kept.append(operation)
                failures.add(urn, _nothing_there(urn, pending.imports[urn]))
            else:
                resources.append(found)
        elif not pending.clear:
            kept.append(operation)
    return replace(deployment, resources=in_valid_order(resources), pending_operations=tuple(kept))


def _nothing_there(urn: str, id: str) -> TickoverError:
    return TickoverError(
        "no-such-object",
        "Object does not exist",
        f"Its provider has no object with the id {id!r}.",
        urn,
        exit_code=Exit.RESOURCE,
    )

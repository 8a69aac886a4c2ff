"""What the engine asks a provider before anything is done: Check and Diff.

Owns: the requests, and what stands in where a provider cannot tell. Promises: no effect on anything.
Never: decides.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tickover.engine import wire
from tickover.engine.effects import secret_outputs
from tickover.engine.failures import check_failed
from tickover.engine.goal import Goal
from tickover.engine.provider import (
    CheckRequest,
    DiffRequest,
    DiffResult,
    Unavailable,
    Unimplemented,
)
from tickover.engine.providers import Handle
from tickover.engine.state import ResourceState
from tickover.engine.structdiff import compare, with_ignored
from tickover.engine.values import PropertyMap


def random_seed(seed: str, urn: str, replaced: ResourceState | None) -> bytes:
    """The 32 bytes that autonaming draws from: the same in the dry run and in the apply, others for a
    replacement than for the one that it replaces. seed: of the state and where it lies."""
    salt = replaced.id if replaced is not None else ""
    return hashlib.sha256(f"{seed}\0{urn}\0{salt}".encode()).digest()


async def checked(
    handle: Handle, goal: Goal, wanted: PropertyMap, kept: ResourceState | None, seed: bytes
) -> PropertyMap:
    """The inputs as the provider completes them. Raises TickoverError with every failure it found."""
    if not handle.is_configured:
        return wanted
    try:
        request = CheckRequest(goal.urn, kept.inputs if kept else None, wanted, seed)
        result = await handle.provider.check(request)
    except (Unavailable, Unimplemented):
        return wanted
    check_failed(goal.urn, result.failures, wanted)
    return wire.remark_secrets(result.inputs, wanted)


async def differs(
    handle: Handle, old: ResourceState, inputs: PropertyMap, ignored: tuple[str, ...]
) -> DiffResult:
    """The provider's diff; the engine's own comparison where the provider cannot tell."""
    unconfigured = DiffResult(True, warnings=("the provider is not configured yet: an update is assumed",))
    if not handle.is_configured:
        return unconfigured
    request = DiffRequest(old.urn, old.id, old.inputs, old.outputs, inputs, ignored)
    try:
        diff = await handle.provider.diff(request)
    except Unimplemented:
        return compare(old.inputs, inputs)
    except Unavailable:
        return unconfigured
    if diff.changes is None:
        own = compare(old.inputs, with_ignored(inputs, old.inputs, ignored))
        return replace(diff, changes=own.changes, detailed=diff.detailed or own.detailed)
    if diff.changes and not diff.detailed:
        own = compare(old.inputs, inputs)
        changed = set(diff.changed_keys or own.detailed)
        shown = {k: v for k, v in own.detailed.items() if k in changed}
        return replace(diff, detailed=shown, changed_keys=tuple(sorted(changed)))
    return diff


def marked(goal: Goal, outputs: PropertyMap, inputs: PropertyMap) -> PropertyMap:
    """outputs, secret where the input of that name is, or where the program says so."""
    return secret_outputs(outputs, inputs, goal.additional_secret_outputs)

"""What the engine asks a provider before anything is done: Check and Diff.

Owns: the requests, and what stands in where a provider cannot tell. Promises: no effect on anything.
Never: decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from tickover.engine import wire
from tickover.engine.autonaming import Autonaming
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


@dataclass(frozen=True, slots=True)
class Consultant:
    """Asks for one run. seed: of the state and where it lies; naming: the stack's rules for names."""

    seed: str
    naming: Autonaming
    warn: Callable[[str, str], None]

    def _random(self, urn: str, replaced: ResourceState | None) -> bytes:
        """32 bytes to draw a name from: the same in the dry run and in the apply, others for a replacement
        than for the one that it replaces."""
        salt = replaced.id if replaced is not None else ""
        return hashlib.sha256(f"{self.seed}\0{urn}\0{salt}".encode()).digest()

    def ordered(self, goal: Goal) -> Goal:
        """goal, deleted before it is replaced where both would have the same name."""
        return replace(goal, delete_before_replace=True) if self.naming.deletes_first(goal.urn) else goal

    async def checked(
        self,
        handle: Handle,
        goal: Goal,
        wanted: PropertyMap,
        kept: ResourceState | None,
        replaced: ResourceState | None,
    ) -> PropertyMap:
        """The inputs as the provider completes them. Raises TickoverError with every failure it found."""
        if not handle.is_configured:
            return wanted
        seed = self._random(goal.urn, replaced)
        proposed = self.naming.proposal(goal.urn, seed)
        try:
            request = CheckRequest(goal.urn, kept.inputs if kept else None, wanted, seed, proposed)
            result = await handle.provider.check(request)
        except (Unavailable, Unimplemented):
            return wanted
        for warning in result.warnings:
            self.warn(goal.urn, warning)
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

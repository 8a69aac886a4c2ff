"""The state of a stack while an operation runs: what each finished step makes of it.

Owns: the effect of a finished step on the list of resources, and a valid order of that list. Promises:
`deployment` is sound after every step of a sound run; the same steps give the same deployment, live or
replayed from a journal. Never: touches files, calls providers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from tickover.engine.integrity import references
from tickover.engine.plan import Op
from tickover.engine.renames import renamed_resource
from tickover.engine.state import Deployment, PendingOperation, PendingType, ResourceState

PENDING_OF: Final[dict[Op, PendingType]] = {
    Op.CREATE: PendingType.CREATING,
    Op.CREATE_REPLACEMENT: PendingType.CREATING,
    Op.UPDATE: PendingType.UPDATING,
    Op.DELETE: PendingType.DELETING,
    Op.DELETE_REPLACED: PendingType.DELETING,
    Op.READ: PendingType.READING,
    Op.READ_REPLACEMENT: PendingType.READING,
    Op.REFRESH: PendingType.READING,
    Op.IMPORT: PendingType.IMPORTING,
    Op.IMPORT_REPLACEMENT: PendingType.IMPORTING,
}


class Snapshot:
    """Base resources in their order, then what finished, then brought into a valid order on demand."""

    def __init__(self, base: Deployment) -> None:
        self._base = base
        self._rest: dict[int, ResourceState] = dict(enumerate(base.resources))
        self._done: dict[int, ResourceState] = {}
        self._next = len(self._rest)
        self._live: dict[str, int] = {r.urn: i for i, r in self._rest.items() if not r.delete}
        self._doomed: dict[tuple[str, str], int] = {
            (r.urn, r.id): i for i, r in self._rest.items() if r.delete
        }
        self._pending: dict[int, PendingOperation] = {}
        self._names: dict[str, str] = {}  # old URN → new one, of what goes on under another name

    # --- steps -----------------------------------------------------------------------------------

    def begin(self, ticket: int, op: Op, resource: ResourceState) -> None:
        """A provider call for resource is about to be made."""
        if op in PENDING_OF:
            self._pending[ticket] = PendingOperation(resource, PENDING_OF[op])

    def abandon(self, ticket: int) -> None:
        """The call of ticket failed without an effect."""
        self._pending.pop(ticket, None)

    def rename(self, old: str, new: str) -> None:
        """What was called old is called new: in its own entry until its step is done, and in references of
        all that no step has touched yet."""
        self._names[old] = new

    def finish(
        self, op: Op, resource: ResourceState | None, old: ResourceState | None, ticket: int | None = None
    ) -> None:
        """op is done. resource: what the stack remembers now, None if nothing. old: what it was before."""
        if ticket is not None:
            self._pending.pop(ticket, None)
        _EFFECTS[op](self, resource, old)

    # --- effects -----------------------------------------------------------------------------------

    def _drop_live(self, urn: str) -> None:
        key = self._live.pop(urn, None)
        if key is not None:
            self._rest.pop(key, None)
            self._done.pop(key, None)

    def _put(self, resource: ResourceState) -> None:
        self._drop_live(resource.urn)
        self._done[self._next] = resource
        self._live[resource.urn] = self._next
        self._next += 1

    def _change(self, resource: ResourceState | None, old: ResourceState | None) -> None:
        """The live entry becomes resource (None: goes). A rename leaves the old URN behind."""
        if old is not None:
            self._drop_live(old.urn)
        if resource is not None:
            self._put(resource)

    def _replace(self, resource: ResourceState | None, old: ResourceState | None) -> None:
        """resource joins; the entry it replaces waits for its deletion, or was deleted already."""
        urn = old.urn if old is not None else resource.urn if resource is not None else ""
        key = self._live.get(urn)
        if key is not None:
            place = self._rest if key in self._rest else self._done
            present = place[key]
            if present.pending_replacement or present.external:
                self._drop_live(urn)
            else:
                place[key] = replace(present, delete=True)
                self._doomed[present.urn, present.id] = key
                del self._live[urn]
        if resource is not None:
            self._put(resource)

    def _delete_replaced(self, resource: ResourceState | None, old: ResourceState | None) -> None:
        """old is gone. resource: what stays to be recreated (pendingReplacement) in its place."""
        if resource is not None:
            self._swap(resource)
        elif old is not None:
            key = self._doomed.pop((old.urn, old.id), None)
            if key is not None:
                self._rest.pop(key, None)
                self._done.pop(key, None)

    def _swap(self, resource: ResourceState) -> None:
        key = self._live.get(resource.urn)
        if key is None:
            self._put(resource)
            return
        (self._rest if key in self._rest else self._done)[key] = resource

    def _delete(self, resource: ResourceState | None, old: ResourceState | None) -> None:
        if old is not None and old.delete:
            self._delete_replaced(None, old)
        elif old is not None:
            self._drop_live(old.urn)
        if resource is not None:  # what a partly failed deletion leaves
            self._put(resource)

    def _keep(self, resource: ResourceState | None, old: ResourceState | None) -> None:
        """A step that only marks others."""

    # --- results -----------------------------------------------------------------------------------

    @property
    def resources(self) -> tuple[ResourceState, ...]:
        """Finished resources in the order they finished, then untouched ones, each after what it needs."""
        rest: Iterable[ResourceState] = self._rest.values()
        if self._names:
            rest = (renamed_resource(r, self._names) for r in rest)
        return in_valid_order([*self._done.values(), *rest])

    def deployment(self) -> Deployment:
        """The deployment now; creations that an earlier run left pending are carried on."""
        carried = [op for op in self._base.pending_operations if op.type is PendingType.CREATING]
        pending = (*carried, *self._pending.values())
        return replace(self._base, resources=self.resources, pending_operations=pending)


_EFFECTS: Final[dict[Op, Callable[[Snapshot, ResourceState | None, ResourceState | None], None]]] = {
    Op.SAME: Snapshot._change,
    Op.CREATE: Snapshot._change,
    Op.UPDATE: Snapshot._change,
    Op.READ: Snapshot._change,
    Op.REFRESH: Snapshot._change,
    Op.IMPORT: Snapshot._change,
    Op.DELETE: Snapshot._delete,
    Op.DISCARD: Snapshot._delete,
    Op.REMOVE_PENDING_REPLACE: Snapshot._delete,
    Op.CREATE_REPLACEMENT: Snapshot._replace,
    Op.READ_REPLACEMENT: Snapshot._replace,
    Op.IMPORT_REPLACEMENT: Snapshot._replace,
    Op.DELETE_REPLACED: Snapshot._delete_replaced,
    Op.DISCARD_REPLACED: Snapshot._delete_replaced,
    Op.REPLACE: Snapshot._keep,
}


def in_valid_order(resources: Iterable[ResourceState]) -> tuple[ResourceState, ...]:
    """resources, moved as little as it takes for each to come after what it refers to; references to
    what is not there are pruned (a parent becomes none, a provider stays for `integrity` to name)."""
    items = list(resources)
    homes: dict[str, int] = {}
    for index, item in enumerate(items):  # a live entry stands for its URN before a doomed one
        if item.urn not in homes or not item.delete:
            homes[item.urn] = index
    providers = {f"{item.urn}::{item.id}": index for index, item in enumerate(items)}
    needs = [sorted(_needs(item, homes, providers) - {index}) for index, item in enumerate(items)]
    order: list[int] = []
    state = bytearray(len(items))  # 0 new, 1 open, 2 placed
    for start in range(len(items)):
        stack = [start]
        while stack:  # no recursion: chains are long
            here = stack[-1]
            if state[here] == 0:
                state[here] = 1
                stack.extend(n for n in reversed(needs[here]) if state[n] == 0)
                continue
            stack.pop()
            if state[here] == 1:
                state[here] = 2
                order.append(here)
    return tuple(_pruned(items[index], homes) for index in order)


def _needs(item: ResourceState, homes: dict[str, int], providers: dict[str, int]) -> set[int]:
    found = {homes[urn] for urn in references(item) if urn in homes}
    if item.provider in providers:
        found.add(providers[item.provider])
    return found


def _pruned(item: ResourceState, homes: dict[str, int]) -> ResourceState:
    if all(urn in homes for urn in references(item)):
        return item
    extra = dict(item.extra)
    if "replaceWith" in extra:
        extra["replaceWith"] = [urn for urn in extra["replaceWith"] if urn in homes]
    return replace(
        item,
        parent=item.parent if item.parent in homes else "",
        dependencies=tuple(urn for urn in item.dependencies if urn in homes),
        property_dependencies={
            key: tuple(urn for urn in urns if urn in homes)
            for key, urns in item.property_dependencies.items()
        },
        deleted_with=item.deleted_with if item.deleted_with in homes else "",
        extra=extra,
    )

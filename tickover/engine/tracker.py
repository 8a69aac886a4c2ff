"""Which resources of a run exist already, for functions that wait for what they depend on.

Owns: existence by URN and the tree of components. Promises: a component stands for the custom resources
below it, as in the SDKs; registrations in flight below it are waited for. Never: looks at the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tracker:
    """exists: True, False, or None for a component."""

    _exists: dict[str, bool | None] = field(default_factory=dict)
    _children: dict[str, list[str]] = field(default_factory=dict)
    _in_flight: dict[str, int] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def in_flight(self, parent: str) -> Iterator[None]:
        """A registration below parent is being answered."""
        self._in_flight[parent] = self._in_flight.get(parent, 0) + 1
        try:
            yield
        finally:
            self._in_flight[parent] -= 1
            if not self._in_flight[parent]:
                del self._in_flight[parent]
            self._tell()

    def track(self, urn: str, parent: str, custom: bool, exists: bool) -> None:
        """A registration was answered."""
        if urn not in self._exists:
            self._children.setdefault(parent, []).append(urn)
        self._exists[urn] = exists if custom else None
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def has_unresolved(self, roots: Iterable[str]) -> bool:
        """True if a custom resource among or below roots does not exist yet."""
        roots = tuple(roots)
        while True:
            components: set[str] = set()
            frontier = list(roots)
            while frontier:
                urn = frontier.pop()
                if urn not in self._exists or urn in components:
                    continue
                exists = self._exists[urn]
                if exists is False:
                    return True
                if exists is None:
                    components.add(urn)
                    frontier += self._children.get(urn, ())
            if components.isdisjoint(self._in_flight):
                return False
            await self._changed.wait()

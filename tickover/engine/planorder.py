"""The order of a plan: what is needed first, ties by name.

Owns: that order. Promises: the same decisions give the same list, in whatever order they were made. Never:
decides what runs when.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tickover.engine.urn import STACK_TYPE

if TYPE_CHECKING:
    from tickover.engine.entries import Entry
    from tickover.engine.plan import Step


def ordered(entries: Mapping[str, Entry]) -> tuple[Step, ...]:
    """The steps of all entries, each resource after what it needs."""
    waiting: dict[str, int] = {}
    followers: dict[str, list[str]] = {}
    for urn, entry in entries.items():
        needs = [n for n in entry.goal.needs if n in entries and n != urn]
        waiting[urn] = len(needs)
        for needed in needs:
            followers.setdefault(needed, []).append(urn)
    ready = [_key(entries[urn]) for urn, count in waiting.items() if not count]
    heapq.heapify(ready)
    found: list[Step] = []
    while ready:
        _, urn = heapq.heappop(ready)
        found += entries[urn].steps
        for follower in followers.get(urn, ()):
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, _key(entries[follower]))
    return tuple(found)


def _key(entry: Entry) -> tuple[bool, str]:
    return entry.goal.type != STACK_TYPE, entry.goal.urn

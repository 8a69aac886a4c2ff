"""Two versions behind one alias: who gets a request, and how many instances each has.

Owns: the shares of an alias, the split of a reserved pool over them, and the running count that keeps the
requests at their shares. Promises: without a session, after any number of requests a version is less than one
request away from its share, and no rhythm of the callers makes one kind of request go to one version; with
one, the answer depends on the session and the weight alone, and a larger weight only moves sessions to the
other version, never back. Never: I/O, a clock, knows which instances there are.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tickover.host.instance import PoolKey

_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Share:
    """A version of an alias that gets requests. weight: above 0; those of an alias add up to 1."""

    version_id: str
    weight: float


def shares_of(alias: Mapping[str, Any]) -> tuple[Share, ...]:
    """The versions that an alias gives requests to: one, or its own and then the other one."""
    own = str(alias["versionId"])
    for version_id, weight in (alias.get("additionalVersionWeight") or {}).items():
        if weight >= 1:
            return (Share(str(version_id), 1.0),)
        if weight > 0:
            return (Share(own, 1.0 - weight), Share(str(version_id), float(weight)))
    return (Share(own, 1.0),)


def split(target: int, shares: Collection[Share]) -> tuple[int, ...]:
    """A pool's instances by version: by weight, but each version has one. So a pool of one has two."""
    if len(shares) < 2 or target == 0:
        return (target,) * len(shares)
    _, canary = shares
    others = min(max(1, round(target * canary.weight)), max(1, target - 1))
    return (max(1, target - others), others)


def lane_of(key: PoolKey, revision: str, wanted: Mapping[PoolKey, str]) -> PoolKey:
    """Which of an alias' two pools an instance belongs to: a version that changes its place keeps its
    instances. wanted: the revision of each pool. One of a former revision stays where it is."""
    for lane in (key, key.other):
        if wanted.get(lane) == revision:
            return lane
    return key


@dataclass(slots=True)
class _Count:
    """Of one alias. credit: requests that the second version is owed, between -1 and 1. threshold: the credit
    from which it gets the next one."""

    draw: random.Random
    threshold: float
    credit: float = 0.0


class Splitter:
    """Spreads the requests of aliases over two versions."""

    def __init__(self) -> None:
        self._counts: dict[PoolKey, _Count] = {}

    def to_canary(self, key: PoolKey, weight: float, session: str = "") -> bool:
        """Whether the next request of an alias goes to the version with the given weight."""
        if session:
            return _place(key, session) < weight
        count = self._counts.get(key)
        if count is None:
            draw = random.Random(str(key))  # the same row of numbers in every host
            count = self._counts[key] = _Count(draw, draw.random())
        count.credit += weight
        # The threshold moves the place of a turn only, never the number of turns.
        if count.credit <= count.threshold:
            return False
        count.credit -= 1.0
        count.threshold = count.draw.random()
        return True

    def keep(self, keys: Collection[PoolKey]) -> None:
        """Forget the counts of all other aliases."""
        self._counts = {key: count for key, count in self._counts.items() if key in keys}


def _place(key: PoolKey, session: str) -> float:
    """A number from 0 up to 1, evenly spread over sessions, the same in every host."""
    text = "\0".join((key.function_name, key.qualifier, session)).encode()
    digest = hashlib.blake2b(text, digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest) / 2.0 ** (8 * _HASH_BYTES)

"""The pool as the front door sees it, whoever owns the instances at the moment.

Owns: which owner is asked, and what ends while there is none. Promises: a request that comes, or that waits,
while the instances change hands is neither refused nor forgotten, and asks the next owner; the end of each
lease reaches one owner exactly once. Never: grants anything itself.
"""

from __future__ import annotations

import asyncio

from tickover.host.handover import HandedOver
from tickover.host.model import Lease, Leases, Place, Prefix


class Switch:
    """Satisfies `tickover.host.model.Leases`."""

    def __init__(self) -> None:
        self._owner: Leases | None = None
        self._ended: list[tuple[Lease, bool]] = []
        self._decided = asyncio.Event()

    def acquire_now(self, function_name: str, qualifier: str) -> Lease | None:
        return None if self._owner is None else self._owner.acquire_now(function_name, qualifier)

    async def acquire(
        self,
        function_name: str,
        qualifier: str,
        *,
        request_id: str = "",
        session: str = "",
        place: Place | None = None,
        prefix: Prefix | None = None,
    ) -> Lease:
        """A place is of the sessions of one owner: with one, nobody else is asked (raises HandedOver)."""
        while True:
            if place is not None and self._owner is None:
                raise HandedOver
            owner = await self.owner()
            try:
                return await owner.acquire(
                    function_name,
                    qualifier,
                    request_id=request_id,
                    session=session,
                    place=place,
                    prefix=prefix,
                )
            except HandedOver:
                if place is not None:
                    raise

    def is_with(self, owner: Leases) -> bool:
        """Whether this one owns the instances now."""
        return self._owner is owner

    async def owner(self) -> Leases:
        """Whoever owns the instances, as soon as that is decided."""
        while self._owner is None:
            await self._decided.wait()
        return self._owner

    def release(self, lease: Lease, *, failed: bool = False) -> None:
        if self._owner is None:
            self._ended.append((lease, failed))
        else:
            self._owner.release(lease, failed=failed)

    def has_ended(self, instance_id: str) -> bool:
        return self._owner is not None and self._owner.has_ended(instance_id)

    def log_path(self, instance_id: str) -> str | None:
        return self._owner.log_path(instance_id) if self._owner is not None else None

    def hold(self) -> None:
        """Nobody is asked until it is decided who."""
        self._owner = None
        self._decided.clear()

    def decide(self, owner: Leases) -> None:
        """Ask this one from now on; it hears first what has ended meanwhile."""
        self._owner = owner
        ended, self._ended = self._ended, []
        for lease, failed in ended:
            owner.release(lease, failed=failed)
        self._decided.set()

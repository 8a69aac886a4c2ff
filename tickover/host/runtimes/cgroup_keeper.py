"""Which cgroups an instance has: those that this host made for it, or that a former host did.

Owns: the map from an instance's handle to its cgroups, and the tidying of what nobody claims. Promises: an
instance without a cgroup is served as one without; a cgroup that is just being entered is not tidied away;
nothing is left of a host without instances.
Never: freezes or ends anything.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from tickover.host.runtimes import procfs
from tickover.host.runtimes.cgroup import Cgroup, Files, Limits, cgroup_of, remove
from tickover.host.runtimes.cgroup_ground import Grounds, survey, tidy

log = structlog.get_logger(__name__)

_TRIES: Final = 3
_END_LOOKS: Final = 100
_PAUSE_SECONDS: Final = 0.02


class CgroupKeeper:
    """The cgroups of one host. owner: its data folder; without one its instances get none."""

    def __init__(self, owner: str, setting: str, files: Files | None = None) -> None:
        self._owner, self._setting, self._files = owner, setting, files or Files()
        self._grounds: Grounds | None = None
        self._found: dict[str, Cgroup | None] = {}  # by handle
        self._entering: set[str] = set()  # instances that have a cgroup and no handle yet

    async def open(self) -> None:
        """Look at the machine, once."""
        if self._grounds is None:
            self._grounds = await asyncio.to_thread(self._survey)
            tidy(self._grounds.homes, self._files)

    def _survey(self) -> Grounds:
        return survey(self._files, self._setting, self._owner, os.geteuid())

    def describe(self) -> str:
        return "cgroups not tried yet" if self._grounds is None else self._grounds.describe()

    @asynccontextmanager
    async def making(self, instance_id: str, limits: Limits) -> AsyncIterator[Cgroup | None]:
        """New cgroups for an instance that is started within; gone again if that fails.

        None where there can be none, which is told in the log.
        """
        self._entering.add(instance_id)
        cgroup = None
        try:
            cgroup = await self._make(instance_id, limits)
            yield cgroup
        except BaseException:
            if cgroup is not None:
                await self._until_removed(cgroup)
            raise
        finally:
            self._entering.discard(instance_id)

    async def _until_removed(self, cgroup: Cgroup) -> None:
        """Its process is ending, without its plan. If that takes too long, `collect` does it later."""
        for _ in range(_END_LOOKS):
            if self.remove(cgroup):
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _make(self, instance_id: str, limits: Limits) -> Cgroup | None:
        await self.open()
        assert self._grounds is not None
        if self._grounds.cgroup(instance_id) is None:
            return None
        try:
            return await asyncio.to_thread(self._made, instance_id, limits)
        except OSError as error:
            _tell(instance_id, error)
            return None

    def _made(self, instance_id: str, limits: Limits) -> Cgroup | None:
        """Raises OSError. The folder above is there only while somebody is in it: it may go at any moment."""
        for left in reversed(range(_TRIES)):
            cgroup = self._survey().cgroup(instance_id)
            if cgroup is None:
                return None
            try:
                cgroup.make(limits)
                return cgroup
            except FileNotFoundError:
                if not left:
                    raise
        raise AssertionError("not reached")

    async def enter(self, instance_id: str, cgroup: Cgroup | None, pid: int) -> Cgroup | None:
        """Put the first process of an instance into its cgroups, before it is recorded: a host that takes it
        over finds it there. The cgroups that it has now."""
        if cgroup is None:
            return None
        try:
            await asyncio.to_thread(cgroup.join, pid)
        except OSError as error:
            _tell(instance_id, error)
            return None
        return cgroup

    def keep(self, ref: str, cgroup: Cgroup | None) -> None:
        self._found[ref] = cgroup

    def of(self, ref: str) -> Cgroup | None:
        """Of a living instance, whichever host has started it."""
        if ref not in self._found:
            identity = procfs.parse_identity(ref)
            if procfs.find(identity) is None:
                return None  # its number may be another's by now
            self._found[ref] = cgroup_of(identity.pid, self._files)
        return self._found[ref]

    def left_of(self, instance_id: str, ref: str) -> Cgroup | None:
        """Of an instance that may have ended; by its name where its first process cannot tell any more."""
        if (cgroup := self.of(ref)) is not None:
            return cgroup
        cgroup = self._grounds.cgroup(instance_id) if self._grounds else None
        return cgroup if cgroup and any(folder.is_dir() for folder in cgroup.folders) else None

    def forget(self, ref: str) -> None:
        self._found.pop(ref, None)

    def remove(self, cgroup: Cgroup) -> bool:
        """Remove what nobody is in any more, and the folders above it after the last; whether it is gone."""
        if not cgroup.remove():
            return False
        tidy({folder.parent for folder in cgroup.folders}, self._files)
        return True

    def collect(self, living: Collection[str]) -> None:
        """Remove the empty cgroups of this host that no living instance claims."""
        if self._grounds is None:
            return
        claimed: set[Path] = set()
        for ref in living:
            if ref and (cgroup := self.of(ref)):  # without a handle: it is `entering`
                claimed.update(cgroup.folders)
        for folder in self._grounds.unclaimed(claimed):
            if folder.name not in self._entering and remove(folder, self._files):
                log.info("an empty cgroup was removed", cgroup=str(folder))
        tidy(self._grounds.homes, self._files)


def _tell(instance_id: str, error: OSError) -> None:
    log.warning("an instance gets no cgroup", instance=instance_id, reason=str(error))

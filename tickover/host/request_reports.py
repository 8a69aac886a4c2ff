"""Who hears of each exchange's end: the counters, and the access log.

Owns: both of one host. Promises: they go on through a hand-over, where the pool and its metrics are made
anew. Never: decides what a line or a series is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import structlog

from tickover.host.access import End, Trace, is_kept
from tickover.host.access_file import AccessFile
from tickover.host.metrics import Metrics
from tickover.host.model import InstanceView
from tickover.host.open_requests import OpenRequests, left_open
from tickover.host.registry import Missing, ObjectRegistry
from tickover.host.request_stats import RequestStats
from tickover.host.states import ENDED

log = structlog.get_logger(__name__)


class Shown(Protocol):
    """The pool."""

    @property
    def metrics(self) -> Metrics: ...
    def instances(self) -> Iterable[InstanceView]: ...


class RequestReports:
    """share: of the requests without an error that are written."""

    def __init__(self, path: Path, share: float) -> None:
        self._share = share
        self._file = AccessFile(path)
        self._stats = RequestStats(self._is_declared, lambda: self._file.dropped)
        self._registry: ObjectRegistry | None = None
        self._pool: Shown | None = None
        self._open = OpenRequests(path.parent)
        self._folder = path.parent
        self.begun = self._open.begun

    def start(self) -> None:
        """Begin to write; first of all what was open when a former host was killed."""
        killed = left_open(self._folder, time.time_ns())
        self._open.open()
        if killed:
            log.warning("requests were open when a host was killed", requests=len(killed))
        for trace in killed:
            self._file.put(trace)
        self._file.start()

    async def close(self) -> None:
        """Write what is left."""
        await self._file.close()
        self._open.close()

    def show(self, registry: ObjectRegistry, pool: Shown) -> None:
        """What is declared and what runs, and where the counters are shown, from now on."""
        self._registry, self._pool = registry, pool
        pool.metrics.registry.register(self._stats)

    def ended(self, trace: Trace) -> None:
        """An exchange is over."""
        self._open.ended(trace)
        if trace.end is End.BROKEN and (why := self._why_ended(trace.instance_id)):
            trace.reason = f"{trace.reason} ({why})"
        self._stats.observe(trace)
        if is_kept(trace, self._share):
            self._file.put(trace)

    def _is_declared(self, function_name: str, qualifier: str) -> bool:
        if self._registry is None:
            return False
        try:
            self._registry.resolve(function_name, qualifier)
        except Missing:
            return False
        return True

    def _why_ended(self, instance_id: str) -> str:
        """Why the pool has ended an instance, or why that has ended: only it knows a drain from a
        crash. Empty where it has said nothing, or not yet."""
        views = self._pool.instances() if self._pool is not None and instance_id else ()
        found = next((view for view in views if view.instance_id == instance_id), None)
        return found.reason.partition("\n")[0] if found is not None and found.state in ENDED else ""

"""Who hears of each exchange's end: the counters, and the access log.

Owns: both of one host. Promises: they go on through a hand-over, where the pool and its metrics are made
anew. Never: decides what a line or a series is.
"""

from __future__ import annotations

from pathlib import Path

from tickover.host.access import Trace, is_kept
from tickover.host.access_file import AccessFile
from tickover.host.metrics import Metrics
from tickover.host.registry import Missing, ObjectRegistry
from tickover.host.request_stats import RequestStats


class RequestReports:
    """share: of the requests without an error that are written."""

    def __init__(self, path: Path, share: float) -> None:
        self._share = share
        self._file = AccessFile(path)
        self._stats = RequestStats(self._is_declared, lambda: self._file.dropped)
        self._registry: ObjectRegistry | None = None
        self.start, self.close = self._file.start, self._file.close

    def show(self, registry: ObjectRegistry, metrics: Metrics) -> None:
        """What is declared, and where the counters are shown, from now on."""
        self._registry = registry
        metrics.registry.register(self._stats)

    def ended(self, trace: Trace) -> None:
        """An exchange is over."""
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

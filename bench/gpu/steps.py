"""How long each step of the idle ladder took, by the host's own metrics.

Owns: the last reading of the step histogram. Promises: `taken` tells of what came to its end since it was
asked before; a step that failed is not there, and one that came twice tells its mean. Never: measures by
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

METRIC: Final = "tickover_idle_step_seconds"
# (seconds in all, how often) by "sleep_down", "checkpoint_up"…
Totals = Mapping[str, tuple[float, float]]


def totals(page: str) -> Totals:
    """The sums of a page in Prometheus' text format."""
    found: dict[str, dict[str, float]] = {"sum": {}, "count": {}}
    for family in text_string_to_metric_families(page):
        if family.name != METRIC:
            continue
        for sample in family.samples:
            kind = sample.name.removeprefix(f"{METRIC}_")
            if kind in found:
                found[kind][f"{sample.labels['rung']}_{sample.labels['direction']}"] = sample.value
    return {name: (seconds, found["count"][name]) for name, seconds in found["sum"].items()}


def between(before: Totals, after: Totals) -> dict[str, float]:
    """Seconds of each step that was taken between two readings."""
    told = {}
    for name, (seconds, count) in after.items():
        former_seconds, former_count = before.get(name, (0.0, 0.0))
        if count > former_count:
            told[name] = (seconds - former_seconds) / (count - former_count)
    return told


class Steps:
    """The steps of one host. read: its metrics page."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._last: Totals = {}

    def taken(self) -> dict[str, float]:
        """Seconds by step, since the call before."""
        before, self._last = self._last, totals(self._read())
        return between(before, self._last)

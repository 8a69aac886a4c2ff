"""What requests took, counted for Prometheus.

Owns: the counters of each function and qualifier. Promises: an observation is a few additions to arrays; a
label is a function and qualifier that is declared, the host itself, or `unknown`; what is no longer declared
loses its series. Never: decides anything.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tickover.host.access import Trace
from tickover.host.clock import SECOND_NS

PoolName = tuple[str, str]  # (function, qualifier)

HOST: Final[PoolName] = ("host", "")  # for the APIs, and what was refused before a function was known
UNKNOWN: Final[PoolName] = ("unknown", "")
_PREFIXES: Final = ("hit", "miss")
_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_BOUNDS: Final = (
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    3600.0,
)
_BOUNDS_NS: Final = tuple(int(bound * SECOND_NS) for bound in _BOUNDS)
_LABELS: Final = ("function", "qualifier")
_HISTOGRAMS: Final = (
    ("tickover_request_wait_seconds", "From asking for an instance to having one"),
    ("tickover_request_wake_seconds", "The same, of the requests that made an instance wake"),
    ("tickover_request_first_byte_seconds", "From a request's head to the first byte of its answer"),
    ("tickover_request_seconds", "From a request's head to the end of its answer"),
)


class _Series:
    """The numbers of one function and qualifier."""

    __slots__ = ("buckets", "classes", "prefixes", "sums")

    def __init__(self) -> None:
        self.buckets = [[0] * (len(_BOUNDS) + 1) for _ in _HISTOGRAMS]
        self.sums = [0] * len(_HISTOGRAMS)
        self.classes = [0] * len(_CLASSES)
        self.prefixes = dict.fromkeys(_PREFIXES, 0)

    def observe(self, which: int, took_ns: int) -> None:
        self.buckets[which][bisect_left(_BOUNDS_NS, took_ns)] += 1
        self.sums[which] += took_ns


class RequestStats(Collector):
    """All of them. is_declared: whether there is such a function and qualifier now."""

    def __init__(self, is_declared: Callable[[str, str], bool], dropped: Callable[[], int]) -> None:
        self._is_declared = is_declared
        self._dropped = dropped
        self._series: dict[PoolName, _Series] = {}

    def observe(self, trace: Trace) -> None:
        """Count an exchange that has ended."""
        name = (trace.function_name, trace.qualifier) if trace.function_name else HOST
        series = self._series.get(name)
        if series is None:
            series = self._new(name)
        series.classes[trace.status // 100 if trace.status < 600 else 0] += 1
        if trace.instance_id:
            series.observe(0, trace.waited_ns)
            if trace.woke:
                series.observe(1, trace.waited_ns)
        if trace.prefix:
            series.prefixes[trace.prefix] += 1
        if trace.first_byte_ns:
            series.observe(2, trace.first_byte_ns - trace.began_ns)
        series.observe(3, trace.ended_ns - trace.began_ns)

    def _new(self, name: PoolName) -> _Series:
        if name is not HOST and not self._is_declared(*name):
            return self._series.setdefault(UNKNOWN, _Series())
        self._prune()
        return self._series.setdefault(name, _Series())

    def _prune(self) -> None:
        for name in [n for n in self._series if n not in (HOST, UNKNOWN) and not self._is_declared(*n)]:
            del self._series[name]

    def describe(self) -> Iterable[Metric]:
        histograms, *others = _families()
        return [*histograms, *others]

    def collect(self) -> Iterable[Metric]:
        self._prune()
        histograms, requests, prefixes, dropped = _families()
        for name, series in sorted(self._series.items()):
            for which, family in enumerate(histograms):
                _add(family, name, series.buckets[which], series.sums[which])
            for status, count in zip(_CLASSES, series.classes, strict=True):
                if count:
                    requests.add_metric((*name, status), count)
            for result, count in series.prefixes.items():
                if count:
                    prefixes.add_metric((*name, result), count)
        dropped.add_metric((), self._dropped())
        return [*histograms, requests, prefixes, dropped]


def _families() -> tuple[
    list[HistogramMetricFamily], CounterMetricFamily, CounterMetricFamily, CounterMetricFamily
]:
    return (
        [HistogramMetricFamily(name, help_, labels=_LABELS) for name, help_ in _HISTOGRAMS],
        CounterMetricFamily(
            "tickover_requests", "Requests that have ended, by status class", labels=(*_LABELS, "status")
        ),
        CounterMetricFamily(
            "tickover_prefix_requests",
            "Prompts by whether their instance was given the same beginning before",
            labels=(*_LABELS, "result"),
        ),
        CounterMetricFamily("tickover_access_dropped", "Requests missing in the access log", labels=()),
    )


def _add(family: HistogramMetricFamily, name: PoolName, counts: list[int], sum_ns: int) -> None:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, _BOUNDS), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    if total:
        family.add_metric(name, buckets, sum_ns / SECOND_NS)

"""What the host counts, for Prometheus.

Owns: the registry and every metric in it. Promises: a scrape reads what is in memory and touches no instance;
no label holds anything but names, states and classes that are known beforehand. Never: decides anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from tickover.host.clock import SECOND_NS, Clock
from tickover.host.desk import Desk
from tickover.host.instance import Instance
from tickover.host.model import Deepest, InstanceState, InstanceView
from tickover.host.roster import Roster
from tickover.host.states import Event

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
S = InstanceState

_STEP_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WAKE_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)
_POOL_LABELS: Final = ("function", "qualifier")
_EXIT: Final = "exit"
# The class of a failure by what the instance was doing, where nothing better is known.
_FAILED_WHILE: Final[Mapping[InstanceState, str]] = {
    S.CREATING: "create",
    S.STARTING: "start",
    S.WARMING: "warm_up",
    S.READY: "health",
    S.BUSY: "health",
    S.DRAINING: "health",
    S.SUSPENDING: "suspend",
    S.IDLE: "idle",
    S.WAKING: "wake",
}

PoolName = tuple[str, str]  # (function, qualifier)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is there at the moment of a scrape."""

    instances: tuple[InstanceView, ...]
    waiting: Mapping[PoolName, int]
    targets: Mapping[PoolName, int]


def snapshot(roster: Roster, desk: Desk) -> Snapshot:
    """What the tables of a pool owner hold now."""
    targets: dict[PoolName, int] = defaultdict(int)
    for key, pool in roster.pools.items():
        targets[key.function_name, key.qualifier] += pool.target
    return Snapshot(roster.views(None), desk.waiting(), targets)


class Metrics:
    """The metrics of one host. look: what is there now."""

    def __init__(self, clock: Clock, look: Callable[[], Snapshot]) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self.registry.register(_Present(look))
        self._moves = Counter(
            "tickover_transitions", "Changes of an instance's state", ("from", "to"), registry=self.registry
        )
        self._kept: dict[tuple[InstanceState, InstanceState], Counter] = {}  # requests make two each
        self._failures = Counter(
            "tickover_failures",
            "Instances that failed, by the class of the reason",
            ("function", "reason"),
            registry=self.registry,
        )
        self._wakes = Counter("tickover_wakes", "Wakes asked for", ("function",), registry=self.registry)
        self._wake_seconds = Histogram(
            "tickover_wake_seconds",
            "From asking for a wake to an instance that serves",
            ("function",),
            buckets=_WAKE_BUCKETS,
            registry=self.registry,
        )
        self._steps = Histogram(
            "tickover_idle_step_seconds",
            "Steps of the idle ladder that succeeded, down and up",
            ("rung", "direction"),
            buckets=_STEP_BUCKETS,
            registry=self.registry,
        )
        self._gpu_used = Gauge(
            "tickover_gpu_used_bytes", "Memory in use on a GPU, last seen", ("card",), registry=self.registry
        )
        self._residue = Gauge(
            "tickover_gpu_residue_bytes",
            "GPU memory that an idle instance of a function still holds, last seen",
            ("function",),
            registry=self.registry,
        )

    def page(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    # -- what happens ----------------------------------------------------------------------------------

    def moved(self, instance: Instance, former: InstanceState, event: Event, now_ns: int) -> None:
        """An event has led an instance from a former state to the one that it is in."""
        function, state = instance.key.function_name, instance.state
        if state is not former:
            self._move(former, state).inc()
        if state is S.FAILED and former is not S.FAILED:
            self._failures.labels(function, failure_class(instance, former, event)).inc()
        if event is Event.WAKE_ASKED:
            self._wakes.labels(function).inc()
        elif event is Event.WOKEN and instance.wake_mono_ns:  # else this host took it over half awake
            self._wake_seconds.labels(function).observe((now_ns - instance.wake_mono_ns) / SECOND_NS)

    @contextmanager
    def step(self, rung: Deepest, direction: str) -> Iterator[None]:
        """Measures one step of the ladder; one that fails is not counted."""
        began = self._clock.mono_ns()
        yield
        self._steps.labels(rung.value, direction).observe((self._clock.mono_ns() - began) / SECOND_NS)

    def gpu_used(self, card_uuid: str, used_bytes: int) -> None:
        """What is in use on a card now, whoever uses it."""
        self._gpu_used.labels(card_uuid).set(used_bytes)

    def residue(self, function_name: str, held_bytes: int) -> None:
        """What an idle instance of a function was seen to hold."""
        self._residue.labels(function_name).set(held_bytes)

    def _move(self, former: InstanceState, state: InstanceState) -> Counter:
        kept = self._kept.get((former, state))
        if kept is None:
            kept = self._kept[former, state] = self._moves.labels(former.value, state.value)
        return kept


def failure_class(instance: Instance, former: InstanceState, event: Event) -> str:
    """The class of a failure: the cause if its log named one, else what it was doing."""
    if instance.failure:
        return instance.failure
    return _EXIT if event is Event.EXITED else _FAILED_WHILE[former]


class _Present(Collector):
    """What can be read off at the moment of a scrape, so that nothing can get out of step."""

    def __init__(self, look: Callable[[], Snapshot]) -> None:
        self._look = look

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return _families()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        seen = self._look()
        states: defaultdict[PoolName, defaultdict[InstanceState, int]] = defaultdict(lambda: defaultdict(int))
        in_flight: defaultdict[PoolName, int] = defaultdict(int)
        for view in seen.instances:
            name = (view.function_name, view.qualifier)
            states[name][view.state] += 1
            in_flight[name] += view.in_flight
        instances, flying, waiting, targets = families = _families()
        for name in sorted({*states, *seen.waiting, *seen.targets}):
            for state in InstanceState:
                instances.add_metric((*name, state.value), states[name][state])
            flying.add_metric(name, in_flight[name])
            waiting.add_metric(name, seen.waiting.get(name, 0))
            targets.add_metric(name, seen.targets.get(name, 0))
        return families


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily("tickover_instances", "Instances, by state", labels=(*_POOL_LABELS, "state")),
        GaugeMetricFamily("tickover_requests_in_flight", "Requests on instances now", labels=_POOL_LABELS),
        GaugeMetricFamily("tickover_requests_waiting", "Requests in the queue now", labels=_POOL_LABELS),
        GaugeMetricFamily("tickover_pool_target", "Instances that should be up now", labels=_POOL_LABELS),
    )

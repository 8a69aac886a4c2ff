"""One pool with a scripted runtime, scripted probes and a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.host_core import Declared, FakeRuntime, ManualClock, pool_of, settle
from tickover.host import idle, modelserver, works
from tickover.host.clock import SECOND_NS
from tickover.host.model import DesiredPool
from tickover.host.modelserver import ServerRefused
from tickover.host.pool import PoolSettings, ReservedPool

SETTINGS = PoolSettings(ledger_delay_seconds=0.0)


class Healthy:
    """Stands for the probes: a gate for each, and what they say. allowed, rules: of each start."""

    def __init__(self):
        self.start, self.wake = asyncio.Event(), asyncio.Event()
        self.start.set()
        self.wake.set()
        self.check = self._check
        self.start_trouble = self.wake_trouble = self.check_trouble = None
        self.allowed, self.rules = [], []

    async def until_healthy(self, host, port, rule, seconds):
        self.allowed.append(seconds)
        self.rules.append(rule)
        await self.start.wait()
        return self.start_trouble

    async def until_awake(self, host, port, rule, seconds):
        await self.wake.wait()
        return self.wake_trouble

    async def warm_up(self, host, port, seconds):
        return None

    async def is_unhealthy(self, host, port, rule):
        return await self.check(host, port, rule)

    async def _check(self, host, port, rule):
        return self.check_trouble


class Sleeper:
    """Stands for the model server's own calls. calls: what was asked of it, in order.

    busy: requests by its own count. fails, fails_once: call -> its trouble. is_deaf: it sleeps
    though it failed.
    """

    def __init__(self):
        self.can_sleep, self.is_asleep, self.is_deaf, self.busy = False, False, False, 0
        self.calls, self.fails, self.fails_once = [], {}, {}

    def _trouble(self, call):
        return self.fails_once.pop(call, None) or self.fails.get(call)

    def _begin(self, call):
        if trouble := self._trouble(call):
            raise ServerRefused(trouble)

    async def is_sleeping(self, host, port, seconds=5.0):
        self._begin("is_sleeping")
        return self.is_asleep if self.can_sleep else None

    async def work(self, host, port, seconds=5.0):
        self._begin("work")
        return self.busy

    async def sleep(self, host, port, seconds, level=1):
        self.calls.append("sleep")
        self.is_asleep = self.is_deaf or "sleep" not in self.fails
        self._begin("sleep")

    async def wake_up(self, host, port, seconds, level=1):
        self.calls.append("wake_up")
        self._begin("wake_up")
        self.is_asleep = False

    async def draw(self, host, port, seconds):
        self.calls.append("draw")
        return self._trouble("draw")


class Bench:
    """One pool to try things on."""

    def __init__(self, path, declared, monkeypatch):
        self.path, self.declared = path, declared
        self.clock, self.runtime, self.healthy = ManualClock(), FakeRuntime(), Healthy()
        self.server = Sleeper()
        for call in ("is_sleeping", "work", "sleep", "wake_up"):
            monkeypatch.setattr(modelserver, call, getattr(self.server, call))
        monkeypatch.setattr(idle, "warm_up", self.server.draw)
        monkeypatch.setattr(idle, "SETTLE_SECONDS", 0.0)
        monkeypatch.setattr(works, "until_healthy", self.healthy.until_healthy)
        monkeypatch.setattr(works, "warm_up", self.healthy.warm_up)
        monkeypatch.setattr(works, "is_unhealthy", self.healthy.is_unhealthy)
        monkeypatch.setattr(works, "PAUSE_BEFORE_CHECK_SECONDS", 0)
        monkeypatch.setattr(works, "PAUSE_AFTER_FAILURE_SECONDS", 0)
        monkeypatch.setattr(idle, "until_healthy", self.healthy.until_awake)
        self.pool = self.new_pool()

    def new_pool(self):
        return ReservedPool(
            self.declared, self.path / "host.db", self.path, {}, self.clock, None, SETTINGS, [self.runtime]
        )

    def declare(self, *pools):
        self.declared.pools = pools
        self.pool.notify()

    def acquire(self):
        return self.pool.acquire("chat-dev", "live")

    def waiting(self):
        return asyncio.get_running_loop().create_task(self.acquire())

    def totals(self):
        found = {}
        for row in self.pool.usage(0, 2**62).rows:
            found[row.billing_class.value] = found.get(row.billing_class.value, 0) + row.duration_ns
        return {name: ns / SECOND_NS for name, ns in found.items()}


def run_on_bench(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scenario: Callable[[Bench], Awaitable[None]],
    pools: tuple[DesiredPool, ...],
    prepare: Callable[[Bench], None] = lambda bench: None,
) -> None:
    """Start a pool, play the scenario, end the pool and see that nothing is left."""

    async def main() -> None:
        bench = Bench(path, Declared(*(pools or (pool_of(),))), monkeypatch)
        prepare(bench)
        await bench.pool.start()
        await settle()
        await scenario(bench)
        await bench.pool.stop(keep_instances=False)
        assert bench.pool.instances() == ()

    asyncio.run(main())

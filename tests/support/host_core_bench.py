"""One pool with a scripted runtime, scripted probes and a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.host_core import Declared, FakeRuntime, ManualClock, pool_of, settle
from tickover.host import idle, works
from tickover.host.clock import SECOND_NS
from tickover.host.model import DesiredPool
from tickover.host.pool import PoolSettings, ReservedPool

SETTINGS = PoolSettings(ledger_delay_seconds=0.0)


class Healthy:
    """Stands for the probes: a gate for each, and what they say."""

    def __init__(self):
        self.start, self.wake = asyncio.Event(), asyncio.Event()
        self.start.set()
        self.wake.set()
        self.check = self._check
        self.start_trouble = self.wake_trouble = self.check_trouble = None

    async def until_healthy(self, host, port, rule, seconds):
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


class Bench:
    """One pool to try things on."""

    def __init__(self, path, declared, monkeypatch):
        self.path, self.declared = path, declared
        self.clock, self.runtime, self.healthy = ManualClock(), FakeRuntime(), Healthy()
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
        for row in self.pool.usage(0, 2**62):
            found[row.billing_class.value] = found.get(row.billing_class.value, 0) + row.duration_ns
        return {name: ns / SECOND_NS for name, ns in found.items()}


def run_on_bench(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scenario: Callable[[Bench], Awaitable[None]],
    pools: tuple[DesiredPool, ...],
) -> None:
    """Start a pool, play the scenario, end the pool and see that nothing is left."""

    async def main() -> None:
        bench = Bench(path, Declared(*(pools or (pool_of(),))), monkeypatch)
        await bench.pool.start()
        await settle()
        await scenario(bench)
        await bench.pool.stop(keep_instances=False)
        assert bench.pool.instances() == ()

    asyncio.run(main())

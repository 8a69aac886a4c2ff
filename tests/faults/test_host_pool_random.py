"""Random lives of a pool: 10,000 events in sequences of 100; nothing is lost, and nobody is stuck.

Checked after every event: the requests of an instance are the leases that are out on it, and not too many;
each instance is in one pool. A third of the pools belong to an alias whose weights change too. At the end of
a sequence all is mended: then whoever waits is served or was refused, and the pool is at target.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from tests.support.host_core import function, pool_of, settle
from tests.support.host_core_bench import run_on_bench
from tickover.host import states as table
from tickover.host import works
from tickover.host.canary import Share, split
from tickover.host.model import InstanceState, Refused
from tickover.host.runtimes.base import Condition
from tickover.host.states import Event

SEQUENCES, EVENTS = 100, 100
BETWEEN = {InstanceState.WAKING, InstanceState.SUSPENDING, InstanceState.DRAINING, InstanceState.IDLE}


class Life:
    """One pool, and what happens to it."""

    def __init__(self, bench, seed, monkeypatch):
        self.bench, self.chance = bench, random.Random(seed)
        self.waiting, self.leases, self.revision, self.target = [], [], 1, 2
        self.canary, self.weight, self.has_weights = 0, 0.5, seed % 3 == 0
        self.gates = {name: asyncio.Event() for name in ("spawn", "freeze", "warm_up")}
        self.gates |= {"start": bench.healthy.start, "wake": bench.healthy.wake}
        self.gates["check"] = asyncio.Event()
        for gate in self.gates.values():
            gate.set()
        bench.healthy.check = self.gated("check", bench.healthy.check)
        for owner, name in ((bench.runtime, "spawn"), (bench.runtime, "freeze"), (works, "warm_up")):
            monkeypatch.setattr(owner, name, self.gated(name, getattr(owner, name)))

    def gated(self, name, call):
        async def slowly(*arguments):
            await self.gates[name].wait()
            return await call(*arguments)

        return slowly

    def pools(self):
        spec = function(concurrency=2, timeout=60)
        if not self.canary:
            return (pool_of(spec, target=self.target, revision=f"r{self.revision}"),)
        sizes = split(self.target, (Share("1", 1 - self.weight), Share("2", self.weight)))
        main, canary = (
            pool_of(spec, target=size, revision=f"r{revision}")
            for size, revision in zip(sizes, (self.revision, self.canary), strict=True)
        )
        return (main, replace(canary, is_canary=True, weight=self.weight))

    async def happen(self):
        often = [self.ask, self.ask, self.answer, self.wait]
        seldom = [
            self.fail,
            self.crash,
            self.crash_between,
            self.give_up,
            self.resize,
            self.edit,
            self.doubt,
            self.squeeze,
        ]
        if self.has_weights:
            seldom += [self.weigh, self.weigh, self.promote, self.swap]
        await self.chance.choice([*often, *often, *seldom, self.ail, self.mend, self.hold])()
        await settle()
        self.collect()
        self.check()

    async def ask(self):
        self.waiting.append(self.bench.waiting())

    async def answer(self):
        if self.leases:
            self.bench.pool.release(self.leases.pop(self.chance.randrange(len(self.leases))))

    async def fail(self):
        if self.leases:
            self.bench.pool.release(self.leases.pop(), failed=True)

    async def give_up(self):
        if self.waiting:
            self.waiting.pop(self.chance.randrange(len(self.waiting))).cancel()

    async def doubt(self):
        """One that fails a request, has another one, is retired while it is looked at, and is no good."""
        self.gates["check"].clear()
        await self.fail()
        await settle()
        self.target = 0
        self.bench.declare(*self.pools())
        await settle()
        self.bench.healthy.check_trouble = "it does not answer"
        self.gates["check"].set()

    async def squeeze(self):
        """Asked for and no longer wanted, on the way up."""
        self.gates["wake"].clear()
        await self.ask()
        await settle()
        self.target = 0
        self.bench.declare(*self.pools())

    async def crash(self):
        self._crash(list(self.bench.runtime.processes))

    async def crash_between(self):
        """One that is on its way: waking, going down, ending."""
        instances = self.bench.pool._roster.instances.values()
        self._crash([i.instance_id for i in instances if i.state in BETWEEN and i.ref])

    def _crash(self, names):
        alive = [n for n in names if self.bench.runtime.processes[n].condition is not Condition.GONE]
        if alive:
            self.bench.runtime.crash(self.chance.choice(alive))

    async def wait(self):
        await self.bench.clock.advance(self.chance.choice([0.1, 1.0, 2.5, 10.0, 130.0]))

    async def resize(self):
        self.target = self.chance.randrange(4)
        self.bench.declare(*self.pools())

    async def edit(self):
        self.revision += 1
        self.bench.declare(*self.pools())

    async def weigh(self):
        """Another version gets a share, another share, or none any more."""
        self.canary = self.chance.choice([0, self.canary or self.revision + 1, self.revision + 2])
        self.weight = self.chance.choice([0.05, 0.5, 0.95])
        self.bench.declare(*self.pools())

    async def promote(self):
        self.revision, self.canary = self.canary or self.revision, 0
        self.bench.declare(*self.pools())

    async def swap(self):
        if self.canary:
            self.revision, self.canary = self.canary, self.revision
            self.bench.declare(*self.pools())

    async def ail(self):
        bench, which = self.bench, self.chance.randrange(7)
        if which == 0:
            bench.healthy.start_trouble = "it does not start"
        elif which == 1:
            bench.healthy.wake_trouble = "it does not wake"
        elif which == 2:
            bench.healthy.check_trouble = "it does not answer"
        elif which == 3:
            bench.runtime.freeze_error = "it does not freeze"
        elif which == 4:
            bench.runtime.spawn_error = "it does not spawn"
        elif which == 5:
            bench.server.is_deaf, bench.server.fails = True, {"sleep": "no", "wake_up": "no"}
        else:
            bench.server.fails[self.chance.choice(["sleep", "wake_up", "is_sleeping", "work"])] = "no"

    async def mend(self):
        bench = self.bench
        bench.healthy.start_trouble = bench.healthy.wake_trouble = bench.healthy.check_trouble = None
        bench.runtime.freeze_error = bench.runtime.spawn_error = ""
        bench.server.fails.clear()
        bench.server.is_deaf = False
        for gate in self.gates.values():
            gate.set()

    async def hold(self):
        """A start, a wake or a way down that takes its time."""
        gate = self.chance.choice(list(self.gates.values()))
        (gate.clear if self.chance.random() < 0.5 else gate.set)()

    def collect(self):
        for task in [t for t in self.waiting if t.done()]:
            self.waiting.remove(task)
            if task.exception() is None:
                self.leases.append(task.result())
            else:
                assert isinstance(task.exception(), Refused)

    def check(self):
        out, roster = Counter(lease.instance_id for lease in self.leases), self.bench.pool._roster
        in_pools = [(key, name) for key, pool in roster._by_pool.items() for name in pool]
        assert sorted(in_pools) == sorted((i.key, i.instance_id) for i in roster.instances.values())
        for instance in roster.instances.values():
            # A lease that was given in this very turn may not have been collected yet.
            assert out[instance.instance_id] <= instance.in_flight <= instance.concurrency

    async def end_well(self):
        await self.mend()
        self.target = 2
        self.bench.declare(*self.pools())
        while self.leases:
            await self.answer()
        for _ in range(100):
            await self.bench.clock.advance(5.0)
            self.collect()
            while self.leases:
                await self.answer()
            await settle()
            if not self.waiting and self.is_at_target():
                return
        raise AssertionError(f"{len(self.waiting)} wait; {self.bench.pool.instances()}")

    def is_at_target(self):
        views = self.bench.pool.instances()
        up = [v for v in views if v.state in table.UP]
        return len(views) == len(up) == self.target and all(v.in_flight == 0 for v in views)


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_whatever_happens_nobody_is_stuck_and_no_instance_lost(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(works, "PAUSE_AFTER_DENIAL_SECONDS", 0.0)

    async def scenario(bench):
        life = Life(bench, seed, monkeypatch)
        bench.server.can_sleep = seed % 2 == 0
        bench.declare(*life.pools())
        for _ in range(EVENTS):
            await life.happen()
        await life.end_well()
        last = bench.waiting()
        await bench.clock.advance(1.0)
        bench.pool.release(last.result())

    run_on_bench(tmp_path, monkeypatch, scenario, ())


def test_10000_random_lives_over_the_table_come_by_every_row_and_end():
    chance, seen = random.Random(0), set()
    ends = {Event.RETIRED, Event.FAULTED, Event.EXITED}
    events = [event for event in Event for _ in range(1 if event in ends else 9)]
    for _ in range(10_000):
        state, effect = InstanceState.CREATING, None
        for _ in range(2000):
            event = chance.choice(events)
            try:
                move = table.step(state, event)
            except table.IllegalEvent:
                continue  # what no caller may tell changes nothing
            if move is not None:
                seen.add((state, event))
                state, effect = move.state, move.effect
            if effect is table.Effect.FORGET:
                break
        assert effect is table.Effect.FORGET and state in (InstanceState.STOPPED, InstanceState.FAILED)
    assert seen == {(state, event) for state, moves in table.TABLE.items() for event in moves}

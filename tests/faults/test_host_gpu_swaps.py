"""Random swaps on simulated cards: what the ledger allows never asks a card for more than it has."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from tests.support.host_gpu import H100, H100_TOO, SECOND, a_ledger, a_need, request_began, request_ended
from tickover.host.gpu.ledger import (
    Denied,
    Ledger,
    Rules,
    Tier,
    admit,
    ending,
    observed,
    overdrawn,
    slept,
)
from tickover.host.gpu.nvml import GIB, MIB, read
from tickover.host.gpu.simulated import OutOfMemory, SimulatedCards
from tickover.host.gpu.swaps import (
    Action,
    Checkpoint,
    Confirm,
    FirstToken,
    Restore,
    Sleep,
    Start,
    Step,
    SwapPlan,
    Wake,
    begins,
    broken,
    closed,
    done,
    is_confirmed,
    opened,
    plan_wake,
)

LARGEST_RESIDUE = 3 * GIB
RULES = Rules(rest_ns=SECOND // 2, assumed_residue_bytes=LARGEST_RESIDUE)


@dataclass
class Under:
    """A swap under way."""

    plan: SwapPlan
    running: list[Step] = field(default_factory=list)
    done: set[int] = field(default_factory=set)

    def ready(self) -> list[Step]:
        busy = {step.number for step in self.running} | self.done
        return [s for s in self.plan.steps if s.number not in busy and self.done.issuperset(s.after)]


class Machine:
    """Cards, the instances on them as they really are, and the ledger's idea of them."""

    def __init__(self, seed: int, cards, instances: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0
        self.cards = SimulatedCards(cards, lambda: self.now / SECOND)
        self.pids: dict[str, int] = {}
        self.residues: dict[str, int] = {}
        self.under: list[Under] = []
        self.swaps = self.failed = self.overlaps = self.evictions = self.sunk = self.born = 0
        self.together: set[tuple[str, ...]] = set()
        self.ledger: Ledger = a_ledger(*cards, rules=RULES)
        for _ in range(instances):
            self.bear()

    def bear(self) -> None:
        self.born += 1
        name = f"i-{self.born}"
        awake = self.chance.choice([20, 41, 56, 70]) * GIB
        need = a_need(name, awake, model=f"m{self.born}", can_deep=self.chance.random() < 0.7)
        found = admit(self.ledger, need, self.now)
        if isinstance(found, Denied):  # too much of what cannot be checkpointed: a small one that can be
            found = admit(self.ledger, a_need(name, 20 * GIB, model=f"m{self.born}"), self.now)
        assert isinstance(found, Ledger), found
        self.ledger = found
        self.pids[name] = 1000 + self.born
        self.residues[name] = self.chance.randrange(100 * MIB, LARGEST_RESIDUE)

    # -- one thing happens ---------------------------------------------------------------------------

    def step(self) -> None:
        what = self.chance.random()
        if what < 0.25:
            self.want()
        elif what < 0.45:
            self.request()
        elif what < 0.5:
            self.now += self.chance.randrange(SECOND)
        elif self.under:
            self.go_on(self.chance.choice(self.under))
        self.look()

    def want(self) -> None:
        name = self.chance.choice(sorted(self.ledger.holdings))
        moving = {u for h in self.ledger.holdings.values() if h.is_moving for u in h.cards}
        plan = plan_wake(self.ledger, name, self.now)
        if not isinstance(plan, SwapPlan):
            return
        assert moving.isdisjoint(plan.cards)  # one at a time on a card
        found = opened(self.ledger, plan)
        assert isinstance(found, Ledger), found
        self.ledger = found
        self.under.append(Under(plan))
        self.evictions += len(plan.evicted)
        self.sunk += len(plan.sunk)

    def request(self) -> None:
        name = self.chance.choice(sorted(self.ledger.holdings))
        if self.ledger.holdings[name].in_flight and self.chance.random() < 0.8:
            self.ledger = request_ended(self.ledger, name, self.now)
        elif isinstance(found := request_began(self.ledger, name, self.now), Ledger):
            self.ledger = found

    def go_on(self, swap: Under) -> None:
        ready = swap.ready()
        if ready and (not swap.running or self.chance.random() < 0.6):
            self.begin(swap, self.chance.choice(ready))
        elif swap.running:
            self.end(swap, swap.running.pop(self.chance.randrange(len(swap.running))))
        if len(swap.done) == len(swap.plan.steps):
            self.close(swap)

    def begin(self, swap: Under, step: Step) -> None:
        if isinstance(step.action, Confirm) and not self.confirmed(step.action):
            self.now += SECOND // 10
            return
        found = begins(self.ledger, step.action, self.now)
        assert isinstance(found, Ledger), found  # what was planned can be done
        self.ledger = found
        swap.running.append(step)
        running = [type(s.action) for s in swap.running]
        self.overlaps += Restore in running and Sleep in running
        match step.action:
            case Restore(name):
                self.put(name, self.residues[name])
            case Wake(name) | Start(name):
                self.put(name, self.ledger.holdings[name].need.awake_bytes)

    def end(self, swap: Under, step: Step) -> None:
        if self.chance.random() < 0.02 and isinstance(step.action, Wake | Restore | Start):
            self.break_off(swap, step.action)
            return
        swap.done.add(step.number)
        match step.action:
            case Sleep(name):
                self.put(name, self.residues[name])
            case Checkpoint(name):
                self.put(name, 0)
        found = done(self.ledger, step.action, self.now)
        assert isinstance(found, Ledger), found
        self.ledger = found
        if isinstance(step.action, Sleep):
            self.ledger = slept(
                self.ledger, step.action.instance_id, self.residues[step.action.instance_id], None
            )

    def break_off(self, swap: Under, action: Action) -> None:
        """The instance is killed; all other running steps of the swap come to their end first."""
        verdict = broken(swap.plan, action, "chance")
        for step in [s for s in swap.running if isinstance(s.action, Sleep | Checkpoint)]:
            swap.running.remove(step)
            self.put(
                step.action.instance_id,
                0 if isinstance(step.action, Checkpoint) else self.residues[step.action.instance_id],
            )
            self.ledger = done(self.ledger, step.action, self.now)
        for name in verdict.replace_ids:
            self.cards.kill(self.pids[name])
            self.ledger = ending(self.ledger, name)
        self.failed += 1
        self.close(swap)

    def close(self, swap: Under) -> None:
        self.ledger = closed(self.ledger, swap.plan)
        self.under.remove(swap)
        self.swaps += 1

    # -- the truth -----------------------------------------------------------------------------------

    def put(self, name: str, used: int) -> None:
        for uuid in self.ledger.holdings[name].cards:
            self.cards.put(uuid, self.pids[name], used)

    def confirmed(self, action: Confirm) -> bool:
        card = next(card for card in self.cards.cards() if card.uuid == action.uuid)
        return is_confirmed(action, read(self.cards, card).free_bytes)

    def look(self) -> None:
        """After every event: the card has no more than it has, and no two grow on it at once."""
        assert overdrawn(self.ledger) == ()
        for card in self.cards.cards():
            used = self.cards.used_bytes(card.uuid)
            assert used <= card.total_bytes
            self.ledger = observed(self.ledger, card.uuid, used, 0)
            there = [h for h in self.ledger.holdings.values() if card.uuid in h.cards]
            assert sum(h.tier in (Tier.WAKING, Tier.STARTING) for h in there) <= 1
            self.together.add(tuple(sorted(h.instance_id for h in there if h.tier is Tier.AWAKE)))
        for name in set(self.pids) - set(self.ledger.holdings):
            del self.pids[name]
            self.bear()


@pytest.mark.parametrize("cards", [(H100,), (H100, H100_TOO)], ids=["one card", "two cards"])
@pytest.mark.parametrize("seed", [1, 2])
def test_500_random_swaps_never_over_commit_and_never_wake_two_at_once(seed, cards):
    machine = Machine(seed, cards, 8 * len(cards))
    events = 0
    while machine.swaps < 500:
        machine.step()
        events += 1
        assert events < 100_000, f"only {machine.swaps} swaps came to their end"
    # The run says something only if it met what is hard: evictions, overlaps, failures, company.
    assert machine.evictions > 100 and machine.overlaps > 10 and machine.failed > 3
    assert any(len(names) > 1 for names in machine.together)
    print(
        f"seed {seed}, {len(cards)} card(s): {machine.swaps} swaps, {events} events, {machine.evictions} "
        f"evicted, {machine.sunk} sunk, {machine.overlaps} overlapped, {machine.failed} failed"
    )


def test_the_simulated_card_would_have_told():
    """The guard of the test above: a wake that nobody made room for does not fit."""
    machine = Machine(3, (H100,), 0)
    machine.cards.put(H100.uuid, 1, 70 * GIB)
    with pytest.raises(OutOfMemory):
        machine.cards.put(H100.uuid, 2, 20 * GIB)


def test_every_action_is_met_by_the_machine():
    assert set(Action.__args__) == {Sleep, Checkpoint, Confirm, Restore, Wake, Start, FirstToken}

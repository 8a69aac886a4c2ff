"""How an instance gets its cards: who makes room, and in which order the steps go.

Owns: the plan of a swap as data, and what each step does to the ledger. Promises: pure; one swap at a time on
a card; only an instance that can sleep, has no request and is the least recently used is evicted; no step is
begun that the ledger cannot carry. Never: does a step. The caller does them: a step may run as soon as all
that it comes after are done, and the first that fails ends the swap (`broken`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tickover.host.gpu.ledger import (
    Denied,
    Holding,
    Ledger,
    Tier,
    capacity,
    charge,
    held,
    marked,
    moved,
    on_card,
    residue,
)
from tickover.host.gpu.nvml import GIB


@dataclass(frozen=True, slots=True)
class Sleep:
    """The engine gives its memory up; its scheduler is paused from then on."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The driver takes what an instance that is asleep still has on its cards."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """Read the card until it has so much free; a promise of an engine is not enough to wake another on."""

    uuid: str
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Restore:
    """The driver gives a checkpointed instance back what it took."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Wake:
    """The engine takes its memory back."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Start:
    """A first process: needs the whole of its memory, as a wake does."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Held requests are forwarded; done when the first of them is answered."""

    instance_id: str


Action = Sleep | Checkpoint | Confirm | Restore | Wake | Start | FirstToken


@dataclass(frozen=True, slots=True)
class Step:
    """after: the numbers of the steps that have to be done first."""

    number: int
    action: Action
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """Bring one instance up. evicted: who sleeps for it; sunk: who is checkpointed before it comes."""

    instance_id: str
    cards: tuple[str, ...]
    steps: tuple[Step, ...]
    evicted: tuple[str, ...] = ()
    sunk: tuple[str, ...] = ()

    @property
    def takes_part(self) -> tuple[str, ...]:
        later = [s.action.instance_id for s in self.steps if isinstance(s.action, Checkpoint)]
        return tuple(dict.fromkeys((self.instance_id, *self.evicted, *self.sunk, *later)))


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. until_ns: when to ask again at the latest; None: when something on the card has changed."""

    reason: str
    until_ns: int | None = None


@dataclass(slots=True)
class _Sketch:
    """A plan being made: the tiers as they would be."""

    ledger: Ledger
    target: Holding
    tiers: dict[str, Tier]
    sleeps: list[str] = field(default_factory=list)
    sinks: list[str] = field(default_factory=list)

    def free(self, uuid: str) -> int:
        there = on_card(self.ledger, uuid)
        return capacity(self.ledger, uuid) - sum(
            charge(self.ledger, h, self.tiers[h.instance_id]) for h in there
        )

    def short(self) -> list[str]:
        return [uuid for uuid in self.target.cards if self.free(uuid) < 0]

    def candidates(self, test: Callable[[Holding], bool]) -> list[Holding]:
        """Those on a card that is short of room, the least recently used first."""
        found = {h.instance_id: h for uuid in self.short() for h in on_card(self.ledger, uuid) if test(h)}
        others = [h for h in found.values() if h.instance_id != self.target.instance_id]
        return sorted(others, key=lambda h: (h.used_ns, h.instance_id))


def plan_wake(ledger: Ledger, instance_id: str, now_ns: int) -> SwapPlan | Wait | Denied:
    """How to bring an instance that is down, asleep or deep to its first token."""
    target = ledger.holdings.get(instance_id)
    if target is None:
        return Denied(f"instance {instance_id} has no card reserved")
    if target.tier not in (Tier.DOWN, Tier.ASLEEP, Tier.DEEP):
        return Denied(f"instance {instance_id} is {target.tier.value} already")
    for uuid in target.cards:
        if ledger.rooms[uuid].is_lost:
            return Denied(f"card {uuid} of instance {instance_id} is lost; its host has to be looked at")
        mover = next((h.instance_id for h in on_card(ledger, uuid) if h.is_moving), None)
        if mover is not None:
            return Wait(f"another swap, with instance {mover}, is under way on card {uuid}")
    tiers = {h.instance_id: h.tier for h in ledger.holdings.values()}
    sketch = _Sketch(ledger, target, {**tiers, instance_id: Tier.AWAKE})
    while sketch.short():
        if not _make_room(sketch, now_ns):
            return _blocked(sketch, now_ns)
    _spare(sketch)
    return _assemble(sketch)


def _make_room(sketch: _Sketch, now_ns: int) -> bool:
    """One more instance out of the way: first by a sleep, which is fast, then by a checkpoint."""
    ledger, tiers = sketch.ledger, sketch.tiers
    for holding in sketch.candidates(lambda h: tiers[h.instance_id] is Tier.AWAKE):
        if _is_evictable(ledger, holding, now_ns):
            tiers[holding.instance_id] = Tier.ASLEEP
            sketch.sleeps.append(holding.instance_id)
            return True
    for holding in sketch.candidates(lambda h: tiers[h.instance_id] is Tier.ASLEEP):
        if holding.need.can_deep and not holding.is_moving and residue(ledger, holding) > 0:
            tiers[holding.instance_id] = Tier.DEEP
            sketch.sinks.append(holding.instance_id)
            return True
    return False


def _is_evictable(ledger: Ledger, holding: Holding, now_ns: int) -> bool:
    is_free = holding.in_flight == 0 and not holding.is_moving and holding.need.can_sleep
    return is_free and now_ns - holding.awake_ns >= ledger.rules.rest_ns


def _spare(sketch: _Sketch) -> None:
    """Leave those alone whose room turned out not to be needed."""
    for chosen, former in ((sketch.sinks, Tier.ASLEEP), (sketch.sleeps, Tier.AWAKE)):
        for instance_id in tuple(chosen):
            if former is Tier.AWAKE and instance_id in sketch.sinks:
                continue
            present = sketch.tiers[instance_id]
            sketch.tiers[instance_id] = former
            if sketch.short() or former is present:
                sketch.tiers[instance_id] = present
            else:
                chosen.remove(instance_id)


def _blocked(sketch: _Sketch, now_ns: int) -> Wait | Denied:
    """Who is in the way, and whether that can change."""
    ledger, target = sketch.ledger, sketch.target
    uuid = sketch.short()[0]
    there = [h for h in on_card(ledger, uuid) if h.instance_id != target.instance_id]
    for holding in there:
        name = f"instance {holding.instance_id} on card {uuid}"
        if holding.tier is Tier.ENDING:
            return Wait(f"{name} was ended, and its memory is not free yet")
        if holding.tier in (Tier.STARTING, Tier.WAKING):
            return Wait(f"{name} is {holding.tier.value}")
        if holding.in_flight and holding.need.can_sleep:
            return Wait(f"{name} has {holding.in_flight} request(s)")
    rested = [h.awake_ns + ledger.rules.rest_ns for h in there if h.tier is Tier.AWAKE and h.need.can_sleep]
    if pending := [moment for moment in rested if moment > now_ns]:
        return Wait(f"who is awake on card {uuid} woke a moment ago", min(pending))
    return Denied(
        f"instance {target.instance_id} needs {target.need.awake_bytes / GIB:.1f} GB on card {uuid}, and "
        f"{max(sketch.free(uuid) + target.need.awake_bytes, 0) / GIB:.1f} GB are left when all that can "
        "make room have done so"
    )


def _assemble(sketch: _Sketch) -> SwapPlan:
    """The steps, with no more order than is needed.

    A restore needs only the residue: it goes beside the eviction where that much is free already. What an
    eviction leaves is checkpointed after the first token, and only on a card that would be left with too
    little for the next restore to go beside the eviction.
    """
    ledger, target = sketch.ledger, sketch.target
    steps: list[Step] = []

    def add(action: Action, after: Iterable[int] = ()) -> int:
        steps.append(Step(len(steps), action, tuple(after)))
        return len(steps) - 1

    left = residue(ledger, target)
    is_early = all(capacity(ledger, uuid) - held(ledger, uuid) >= left for uuid in target.cards)
    restored: list[int] = []
    if target.tier is Tier.DEEP and is_early:
        restored.append(add(Restore(target.instance_id)))
    slept = {name: add(Sleep(name)) for name in sketch.sleeps}
    sunk = [add(Checkpoint(name), (slept[name],) if name in slept else ()) for name in sketch.sinks]
    there_already = left if target.tier is Tier.ASLEEP or restored else 0
    wanted = max(target.need.awake_bytes - there_already, 0)
    ready = [
        add(Confirm(uuid, wanted), (*restored, *slept.values(), *sunk))
        for uuid in dict.fromkeys(target.cards)
    ]
    if target.tier is Tier.DEEP and not restored:
        ready = [add(Restore(target.instance_id), ready)]
    action = Start(target.instance_id) if target.tier is Tier.DOWN else Wake(target.instance_id)
    answered = add(FirstToken(target.instance_id), (add(action, ready),))
    for name in sketch.sleeps:
        holding = ledger.holdings[name]
        is_tight = any(sketch.free(uuid) < ledger.rules.spare_bytes for uuid in target.cards)
        if name not in sketch.sinks and holding.need.can_deep and is_tight:
            add(Checkpoint(name), (answered,))
            sketch.tiers[name] = Tier.DEEP
    return SwapPlan(target.instance_id, target.cards, tuple(steps), tuple(sketch.sleeps), tuple(sketch.sinks))


def in_the_way(ledger: Ledger, instance_id: str) -> tuple[str, ...]:
    """Who could make room for it if it had no request."""
    target = ledger.holdings.get(instance_id)
    there = {h.instance_id: h for uuid in (target.cards if target else ()) for h in on_card(ledger, uuid)}
    return tuple(
        name for name, h in there.items() if h.tier is Tier.AWAKE and h.in_flight and h.need.can_sleep
    )


# -- doing it --------------------------------------------------------------------------------------------


def opened(ledger: Ledger, plan: SwapPlan) -> Ledger | Denied:
    """The swap begins: nobody else swaps on these cards, and no request goes to who takes part."""
    for name in plan.takes_part:
        holding = ledger.holdings.get(name)
        if holding is None:
            return Denied(f"instance {name} is gone", is_final=False)
        if holding.is_moving or holding.in_flight:
            return Denied(f"instance {name} has requests or is part of another swap", is_final=False)
    for uuid in plan.cards:
        if any(holding.is_moving for holding in on_card(ledger, uuid)):
            return Denied(f"another swap is under way on card {uuid}", is_final=False)
    return marked(ledger, plan.takes_part, is_moving=True)


def begins(ledger: Ledger, action: Action, now_ns: int) -> Ledger | Denied:
    """To be asked right before a step is done: takes the memory that it will need."""
    match action:
        case Sleep(name):
            if ledger.holdings[name].in_flight:
                return Denied(f"instance {name} has requests; an engine never sleeps with work in flight")
            if ledger.holdings[name].tier is not Tier.AWAKE:
                return Denied(f"instance {name} is {ledger.holdings[name].tier.value}, not awake")
        case Checkpoint(name):
            if ledger.holdings[name].tier is not Tier.ASLEEP:
                return Denied(f"instance {name} is not asleep; a checkpoint of it would kill its engine")
        case Restore(name):
            return moved(ledger, name, Tier.ASLEEP, now_ns)
        case Wake(name):
            return moved(ledger, name, Tier.WAKING, now_ns)
        case Start(name):
            return moved(ledger, name, Tier.STARTING, now_ns)
        case Confirm() | FirstToken():
            pass
    return ledger


def done(ledger: Ledger, action: Action, now_ns: int) -> Ledger | Denied:
    """The step is done: gives back what it has freed."""
    match action:
        case Sleep(name):
            return moved(ledger, name, Tier.ASLEEP, now_ns)
        case Checkpoint(name):
            return moved(ledger, name, Tier.DEEP, now_ns)
        case Wake(name) | Start(name):
            awake = moved(ledger, name, Tier.AWAKE, now_ns)
            if isinstance(awake, Denied):
                return awake
            return marked(awake, [name], is_moving=False)  # what was held at the door may go to it now
        case Confirm() | Restore() | FirstToken():
            return ledger


def closed(ledger: Ledger, plan: SwapPlan) -> Ledger:
    """All steps are done, or the swap was given up and what had failed was told to the ledger.

    Who was woken was let go at its wake: it may be part of the next swap by now.
    """
    target = ledger.holdings.get(plan.instance_id)
    is_up = target is not None and target.tier is Tier.AWAKE
    names = [name for name in plan.takes_part if not (is_up and name == plan.instance_id)]
    return marked(ledger, names, is_moving=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """What a failed step means. replace_ids: to be killed and started anew; the others stay as they are."""

    reason: str
    replace_ids: tuple[str, ...] = ()


def broken(plan: SwapPlan, action: Action, reason: str) -> Broken:
    """A wake or a restore that failed leaves an engine that may answer and yet hang: it is replaced.

    A sleep that failed may have killed the engine while it answered 200, or left it awake: its health check
    tells. A checkpoint that failed was undone; whether it could be is the word of `sequence`.
    """
    said = f"the swap to instance {plan.instance_id} failed at {_named(action)}: {reason}"
    match action:
        case Wake(name) | Restore(name) | Start(name) | FirstToken(name):
            return Broken(said, (name,))
        case _:
            return Broken(said)


def _named(action: Action) -> str:
    match action:
        case Confirm(uuid, free_bytes):
            return f"confirming {free_bytes / GIB:.1f} GB free on card {uuid}"
        case Sleep(name) | Checkpoint(name) | Restore(name) | Wake(name) | Start(name) | FirstToken(name):
            return f"{type(action).__name__.lower()} of instance {name}"


def is_confirmed(step: Confirm, free_bytes: int) -> bool:
    return free_bytes >= step.free_bytes

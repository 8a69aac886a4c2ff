"""What is told in a hand-over, what an instance becomes, and whom a waiting request asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.host_core import ManualClock, an_instance
from tickover.host.adoption import adopt
from tickover.host.desk import Desk
from tickover.host.elsewhere import Elsewhere
from tickover.host.handover import (
    UNSETTLED,
    Former,
    HandedOver,
    Held,
    Told,
    former_from,
    former_json,
    resumed_state,
    tell,
)
from tickover.host.instance import Instance, PoolSettings
from tickover.host.model import Deepest, Lease, Prefix, Refused
from tickover.host.model import InstanceState as S
from tickover.host.model import Place as SessionPlace
from tickover.host.roster import Roster
from tickover.host.runtimes.base import Condition
from tickover.host.states import Event, step
from tickover.host.switch import Switch

RUNNING, FROZEN, GONE = Condition.RUNNING, Condition.FROZEN, Condition.GONE


def lease(instance_id: str = "i-1") -> Lease:
    return Lease(instance_id, "chat-dev", "live", "1", "127.0.0.1", 9000, False, 0)


def told(state: S) -> Told:
    return tell([with_ref(an_instance(state))])["i-1"]


def with_ref(instance: Instance) -> Instance:
    instance.ref = "1:2:3"
    return instance


@pytest.mark.parametrize(
    ("state", "condition", "in_flight", "becomes"),
    [
        (S.BUSY, RUNNING, 2, S.BUSY),
        (S.BUSY, RUNNING, 0, S.READY),  # its last request ended while it was handed over
        (S.READY, RUNNING, 0, S.READY),
        (S.DRAINING, RUNNING, 1, S.DRAINING),
        (S.DRAINING, RUNNING, 0, None),
        (S.IDLE, FROZEN, 0, S.IDLE),
        (S.IDLE, RUNNING, 0, None),  # somebody has thawed it
        (S.READY, FROZEN, 0, None),  # somebody has stopped it
        (S.WARMING, RUNNING, 0, S.WARMING),
        (S.STARTING, RUNNING, 0, None),
        (S.SUSPENDING, RUNNING, 0, None),
        (S.WAKING, RUNNING, 0, None),
        (S.STOPPING, RUNNING, 1, None),
        (S.BUSY, GONE, 1, None),
        (S.IDLE, GONE, 0, None),
    ],
)
def test_what_was_told_counts_where_the_instance_looks_like_it(
    state: S, condition: Condition, in_flight: int, becomes: S | None
) -> None:
    assert resumed_state(told(state), condition, in_flight) is becomes


def test_an_instance_is_taken_over_with_all_that_was_told_of_it() -> None:
    before = with_ref(an_instance(S.IDLE))
    before.rung, before.can_sleep, before.sink_ns, before.hook_ns = Deepest.SLEEP, True, 7, 5
    before.ready_mono_ns, before.wake_mono_ns, before.is_unhealthy = 11, 13, True
    noted = with_ref(an_instance(S.STARTING))  # as its row says
    former = Former(tell([before]))
    found = adopt([noted], lambda _: FROZEN, former, ManualClock(), PoolSettings())
    assert found.gone == []
    assert tell(found.living) == former.told


def test_one_that_was_not_told_of_is_taken_over_as_after_a_kill() -> None:
    noted = with_ref(an_instance(S.STARTING))
    found = adopt([noted], lambda _: GONE, Former(), ManualClock(), PoolSettings())
    assert (found.living, found.gone) == ([], [noted])
    assert noted.state is S.STOPPED


def test_an_instance_that_does_not_exist_yet_is_not_told_of() -> None:
    assert tell([an_instance(S.CREATING)]) == {}


def test_what_is_told_comes_over_whole() -> None:
    one, two = lease(), lease("i-2")
    former = Former(tell([with_ref(an_instance(state)) for state in (S.BUSY,)]), (one, two))
    held = (Held("7-ab", 3, one), Held("8-cd", 1, two))
    assert former_from(json.loads(json.dumps(former_json(former, held)))) == (former, held)


@pytest.mark.parametrize("text", ['{"told": [{}], "held": []}', '{"told": []}', '{"told": [], "held": [{}]}'])
def test_what_is_no_such_thing_is_not_read(text: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        former_from(json.loads(text))


def test_whoever_is_waited_for_in_a_hand_over_is_on_a_short_way() -> None:
    assert {S.SUSPENDING, S.WAKING} <= UNSETTLED
    assert not UNSETTLED & {S.READY, S.BUSY, S.IDLE, S.DRAINING, S.STARTING}


# -- the desk of who takes over ----------------------------------------------------------------------------


class Place:
    """A desk with one instance."""

    def __init__(self, state: S) -> None:
        self.instance = with_ref(an_instance(state))
        roster = Roster()
        roster.add(self.instance)
        self.desk = Desk(roster, ManualClock(), PoolSettings(), self._happened, lambda _: "127.0.0.1")

    def _happened(self, instance: Instance, event: Event, reason: str) -> None:
        move = step(instance.state, event)
        if move is not None:
            instance.state = move.state
            self.desk.pump(instance.key)

    def become(self, state: S) -> None:
        self.instance.state = state
        self.desk.pump(self.instance.key)


@pytest.mark.parametrize("state", [S.BUSY, S.DRAINING, S.READY])
def test_a_lease_of_a_former_host_counts_until_it_is_given_back(state: S) -> None:
    place, theirs = Place(state), lease()
    place.desk.assume(theirs)
    assert place.instance.in_flight == 1
    assert place.instance.state is (S.DRAINING if state is S.DRAINING else S.BUSY)
    assert place.desk.holder(theirs) is place.instance
    place.desk.give_back(theirs)
    assert place.instance.in_flight == 0
    assert place.desk.holder(theirs) is None


def test_a_lease_on_an_idle_instance_wakes_it_and_counts_when_it_is_up() -> None:
    """A host that was killed did not tell of it, and the next one froze what still serves."""
    place, theirs = Place(S.IDLE), lease()
    place.desk.assume(theirs)
    place.desk.resume()
    assert (place.instance.state, place.instance.in_flight) == (S.WAKING, 0)
    place.become(S.READY)
    assert (place.instance.state, place.instance.in_flight) == (S.BUSY, 1)
    place.become(S.BUSY)
    assert place.instance.in_flight == 1


@pytest.mark.parametrize("state", [S.STOPPING, S.FAILED])
def test_a_lease_on_what_ends_is_not_counted(state: S) -> None:
    place, theirs = Place(state), lease()
    place.desk.assume(theirs)
    assert place.instance.in_flight == 0
    place.desk.give_back(theirs)
    place.desk.give_back(lease("i-gone"))
    assert place.desk.hand_over() == ()


def test_leases_that_have_not_been_counted_yet_are_handed_on_as_well() -> None:
    place, counted, returning = Place(S.BUSY), lease(), lease()
    place.desk.assume(counted)
    place.instance.state = S.WAKING
    place.desk.assume(returning)
    assert place.desk.hand_over() == (counted, returning)


# -- the switch --------------------------------------------------------------------------------------------


class Owner:
    """Grants at once, or says that it owns nothing any more."""

    def __init__(self, name: str, leaves: Switch | None = None) -> None:
        self.name = name
        self.leaves = leaves
        self.ended: list[tuple[Lease, bool]] = []

    async def acquire(
        self,
        function_name: str,
        qualifier: str,
        *,
        request_id: str = "",
        session: str = "",
        place: SessionPlace | None = None,
        prefix: Prefix | None = None,
    ) -> Lease:
        if self.leaves is not None:
            self.leaves.hold()
            raise HandedOver
        return lease(self.name)

    def release(self, lease: Lease, *, failed: bool = False) -> None:
        self.ended.append((lease, failed))

    def log_path(self, instance_id: str) -> str | None:
        return None


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_who_waits_while_it_is_undecided_asks_whoever_owns_the_instances_then() -> None:
    async def scenario() -> None:
        switch = Switch()
        switch.decide(Owner("former", leaves=switch))
        asked = asyncio.ensure_future(switch.acquire("chat-dev", "live"))
        await asyncio.sleep(0)
        late = asyncio.ensure_future(switch.acquire("chat-dev", "live"))
        await asyncio.sleep(0)
        assert not asked.done()
        switch.decide(Owner("new"))
        assert [(await asked).instance_id, (await late).instance_id] == ["new", "new"]

    run(scenario())


def test_what_ends_while_it_is_undecided_is_told_to_the_next_owner_once() -> None:
    async def scenario() -> None:
        switch, former, new = Switch(), Owner("former"), Owner("new")
        switch.decide(former)
        one, two = await switch.acquire("chat-dev", "live"), lease()
        switch.hold()
        switch.release(one)
        switch.release(two, failed=True)
        assert former.ended == []
        switch.decide(new)
        switch.decide(former)
        assert new.ended == [(one, False), (two, True)]
        assert former.ended == []

    run(scenario())


class Anywhere:
    instance_id: str | None = None

    def admits(self, instance_id: str) -> bool:
        return True

    def taken(self, instance_id: str) -> None: ...


def test_a_place_is_of_one_owners_sessions_and_asks_no_other_owner() -> None:
    async def scenario() -> None:
        switch = Switch()
        switch.decide(Owner("former", leaves=switch))
        with pytest.raises(HandedOver):
            await switch.acquire("chat-dev", "live", place=Anywhere())
        with pytest.raises(HandedOver):  # not decided yet: its sessions are closed
            await switch.acquire("chat-dev", "live", place=Anywhere())
        switch.decide(Owner("new"))
        granted = await switch.acquire("chat-dev", "live", place=Anywhere())  # of a look-up with the new one
        assert granted.instance_id == "new"

    run(scenario())


def test_a_replaced_host_grants_no_place_in_a_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        elsewhere = Elsewhere(tmp_path, "1-1", {})
        with pytest.raises(HandedOver):
            await elsewhere.acquire("chat-dev", "live", place=Anywhere())

    run(scenario())


def test_a_refusal_is_not_asked_again() -> None:
    class Refusing(Owner):
        async def acquire(
            self,
            function_name: str,
            qualifier: str,
            *,
            request_id: str = "",
            session: str = "",
            place: SessionPlace | None = None,
            prefix: Prefix | None = None,
        ) -> Lease:
            raise Refused(429, "ResourceExhausted", "full", 1)

    async def scenario() -> None:
        switch = Switch()
        switch.decide(Refusing("full"))
        with pytest.raises(Refused):
            await switch.acquire("chat-dev", "live")

    run(scenario())

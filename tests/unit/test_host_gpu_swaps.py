"""Who makes room for whom, and in which order."""

from dataclasses import replace

import pytest

from tests.support.host_gpu import (
    H100,
    H100_TOO,
    SECOND,
    a_ledger,
    a_need,
    good,
    placed,
    request_began,
    request_ended,
)
from tickover.host.gpu.ledger import Denied, Rules, Tier, ending, lost
from tickover.host.gpu.nvml import GIB
from tickover.host.gpu.swaps import (
    Checkpoint,
    Confirm,
    FirstToken,
    Restore,
    Sleep,
    Start,
    SwapPlan,
    Wait,
    Wake,
    begins,
    broken,
    closed,
    done,
    is_confirmed,
    opened,
    plan_wake,
)

A = H100.uuid
AWAKE, ASLEEP, DEEP = Tier.AWAKE, Tier.ASLEEP, Tier.DEEP


def pair(first, second, awake=55 * GIB, **more):
    """Two instances that cannot be awake together."""
    needs = a_need("i-a", awake, **more), a_need("i-b", awake, **more)
    return placed(a_ledger(), *needs, tiers={"i-a": first, "i-b": second})


def steps(plan):
    assert isinstance(plan, SwapPlan), plan
    return [(step.action, step.after) for step in plan.steps]


def test_where_there_is_room_nobody_is_evicted():
    assert steps(plan_wake(placed(a_ledger(), a_need()), "i-a", 0)) == [
        (Confirm(A, 41 * GIB), ()),
        (Start("i-a"), (0,)),
        (FirstToken("i-a"), (1,)),
    ]
    both = placed(a_ledger(), a_need("i-a", 30 * GIB), a_need("i-b", 30 * GIB), tiers={"i-a": AWAKE})
    assert plan_wake(both, "i-b", 0).evicted == ()


def test_a_sleeper_needs_only_what_it_gave_up():
    assert steps(plan_wake(pair(ASLEEP, Tier.DOWN), "i-a", 0))[0] == (Confirm(A, 51 * GIB), ())


def test_the_overlap_restore_beside_the_sleep_and_checkpoint_after_the_first_token():
    assert steps(plan_wake(pair(AWAKE, DEEP, awake=70 * GIB), "i-b", 0)) == [
        (Restore("i-b"), ()),
        (Sleep("i-a"), ()),
        (Confirm(A, 66 * GIB), (0, 1)),
        (Wake("i-b"), (2,)),
        (FirstToken("i-b"), (3,)),
    ]
    tight = pair(AWAKE, DEEP, awake=73 * GIB)  # 1.9 GB would be left beside the sleeper
    assert steps(plan_wake(tight, "i-b", 0))[5:] == [(Checkpoint("i-a"), (4,))]


def test_without_room_for_the_restore_it_waits_for_the_eviction():
    found = steps(plan_wake(pair(AWAKE, DEEP, awake=75 * GIB), "i-b", 0))  # 75 + 4 of 78.9
    names = [type(action).__name__ for action, _ in found]
    assert names == ["Sleep", "Checkpoint", "Confirm", "Restore", "Wake", "FirstToken"]
    assert found[1][1] == (0,) and found[2] == (Confirm(A, 75 * GIB), (0, 1)) and found[3][1] == (2,)


def test_the_least_recently_used_that_suffices_is_evicted():
    needs = [a_need(f"i-{n}", 24 * GIB) for n in range(4)]
    ledger = placed(a_ledger(), *needs, tiers={f"i-{n}": AWAKE for n in range(3)})
    assert plan_wake(ledger, "i-3", 9).evicted == ("i-0",)
    used = request_ended(good(request_began(ledger, "i-0", 10)), "i-0", 11)
    assert plan_wake(used, "i-3", 12).evicted == ("i-1",)


def test_who_turns_out_not_to_be_needed_is_left_alone():
    needs = [a_need("i-s", 5 * GIB), a_need("i-l", 65 * GIB), a_need("i-n", 62 * GIB)]
    ledger = placed(a_ledger(), *needs, tiers={"i-s": AWAKE, "i-l": AWAKE})
    assert plan_wake(ledger, "i-n", 9).evicted == ("i-l",)


def test_sleepers_are_checkpointed_where_sleep_is_not_enough():
    needs = [a_need(f"i-{n}", 70 * GIB) for n in range(4)]
    ledger = placed(a_ledger(), *needs, tiers={"i-0": ASLEEP, "i-1": ASLEEP, "i-2": ASLEEP})
    plan = plan_wake(ledger, "i-3", 9)
    assert (plan.evicted, plan.sunk) == ((), ("i-0",))
    assert steps(plan)[0] == (Checkpoint("i-0"), ())


def test_one_with_requests_is_never_evicted():
    ledger = good(request_began(pair(AWAKE, DEEP), "i-a", 5))
    assert plan_wake(ledger, "i-b", 9) == Wait("instance i-a on card GPU-a has 1 request(s)")
    assert isinstance(plan_wake(request_ended(ledger, "i-a", 6), "i-b", 9), SwapPlan)


def test_one_that_has_just_woken_is_left_for_a_moment():
    ledger = replace(pair(AWAKE, DEEP), rules=Rules(rest_ns=SECOND))
    assert plan_wake(ledger, "i-b", SECOND - 1) == Wait(
        "who is awake on card GPU-a woke a moment ago", SECOND
    )
    assert isinstance(plan_wake(ledger, "i-b", SECOND), SwapPlan)


def test_one_swap_at_a_time_on_a_card():
    needs = [a_need(f"i-{n}", 20 * GIB) for n in range(3)]
    ledger = placed(a_ledger(), *needs)
    first, second = plan_wake(ledger, "i-0", 0), plan_wake(ledger, "i-1", 0)
    ledger = good(opened(ledger, first))
    assert plan_wake(ledger, "i-1", 0) == Wait("another swap, with instance i-0, is under way on card GPU-a")
    assert isinstance(opened(ledger, second), Denied)  # made before the other began
    assert not isinstance(opened(closed(ledger, first), second), Denied)


def test_swaps_on_two_cards_do_not_wait_for_each_other():
    ledger = placed(a_ledger(H100, H100_TOO), a_need("i-a"), a_need("i-b"))
    ledger = good(opened(ledger, plan_wake(ledger, "i-a", 0)))
    assert isinstance(plan_wake(ledger, "i-b", 0), SwapPlan)


def test_no_request_reaches_who_is_about_to_sleep_and_the_woken_one_gets_them_at_once():
    ledger = pair(AWAKE, DEEP)
    plan = plan_wake(ledger, "i-b", 0)
    ledger = good(opened(ledger, plan))
    assert isinstance(request_began(ledger, "i-a", 1), Denied)
    for step in plan.steps:
        ledger = good(begins(ledger, step.action, 1))
        ledger = good(done(ledger, step.action, 2))
        if isinstance(step.action, Wake):
            ledger = good(request_began(ledger, "i-b", 3))
    assert ledger.holdings["i-b"].tier is AWAKE
    assert [h.is_moving for h in closed(ledger, plan).holdings.values()] == [False, False]


def test_a_request_that_came_in_between_stops_the_swap():
    ledger = pair(AWAKE, DEEP)
    plan = plan_wake(ledger, "i-b", 0)
    busy = good(request_began(ledger, "i-a", 1))
    assert isinstance(opened(busy, plan), Denied)
    assert "work in flight" in begins(busy, Sleep("i-a"), 1).reason


@pytest.mark.parametrize("tier", [AWAKE, DEEP, Tier.DOWN], ids=lambda tier: tier.value)
def test_only_a_sleeper_is_checkpointed(tier):
    found = begins(pair(tier, Tier.DOWN), Checkpoint("i-a"), 0)
    assert isinstance(found, Denied) and "would kill its engine" in found.reason


def test_what_can_never_be_is_said():
    assert isinstance(plan_wake(a_ledger(), "i-x", 0), Denied)
    assert "is awake already" in plan_wake(pair(AWAKE, DEEP), "i-a", 0).reason
    assert "is lost" in plan_wake(lost(pair(AWAKE, DEEP), A), "i-b", 0).reason
    stuck = pair(AWAKE, DEEP)
    stubborn = replace(stuck.holdings["i-a"], need=a_need("i-a", 55 * GIB, can_sleep=False, can_deep=False))
    denied = plan_wake(replace(stuck, holdings={**stuck.holdings, "i-a": stubborn}), "i-b", 9)
    assert isinstance(denied, Denied)
    assert "needs 55.0 GB on card GPU-a, and 23.9 GB are left" in denied.reason


def test_an_ended_one_is_waited_for():
    assert plan_wake(ending(pair(AWAKE, DEEP), "i-a"), "i-b", 9) == Wait(
        "instance i-a on card GPU-a was ended, and its memory is not free yet"
    )


def test_what_a_failed_step_means():
    plan = plan_wake(pair(AWAKE, DEEP), "i-b", 9)
    assert broken(plan, Restore("i-b"), "out of memory").replace_ids == ("i-b",)
    assert broken(plan, Sleep("i-a"), "500").replace_ids == ()
    said = broken(plan, Confirm(A, 51 * GIB), "40.0 GB after 10 s").reason
    assert said == (
        "the swap to instance i-b failed at confirming 51.0 GB free on card GPU-a: 40.0 GB after 10 s"
    )
    assert is_confirmed(Confirm(A, 5), 5) and not is_confirmed(Confirm(A, 5), 4)

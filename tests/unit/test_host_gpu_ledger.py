"""Who may be put on a card, and what it then holds."""

from dataclasses import replace

import pytest

from tests.support.host_gpu import (
    H100,
    H100_TOO,
    a_ledger,
    a_need,
    good,
    placed,
    request_began,
    request_ended,
)
from tickover.host.gpu.ledger import (
    Denied,
    Tier,
    admit,
    capacity,
    charge,
    ending,
    has_grown,
    held,
    host_bytes,
    lost,
    moved,
    observed,
    overdrawn,
    residue,
    slept,
)
from tickover.host.gpu.nvml import GIB, MIB

A, B = H100.uuid, H100_TOO.uuid
FLOOR = 483 * MIB


def test_shared_ones_share_a_card_as_long_as_each_can_be_awake():
    ledger = placed(a_ledger(), *(a_need(f"i-{n}", 60 * GIB) for n in range(10)))
    assert len(ledger.holdings) == 10 and held(ledger, A) == 0
    denied = admit(ledger, a_need("i-x", 90 * GIB), 0)
    assert isinstance(denied, Denied) and denied.is_final
    assert "0 of 1 have that" in denied.reason


def test_those_that_cannot_be_checkpointed_count_with_what_they_leave():
    needs = [a_need(f"i-{n}", 60 * GIB, can_deep=False) for n in range(6)]
    ledger = placed(a_ledger(), *needs[:5])  # 60 + 4 * 4 GB of 78.9
    assert isinstance(admit(ledger, needs[5], 0), Denied)
    better = slept(ledger, "i-0", 1920 * MIB, None)  # all of the same image and model
    assert not isinstance(admit(better, needs[5], 0), Denied)


def test_one_that_never_sleeps_counts_in_full():
    always = a_need("i-on", 50 * GIB, can_sleep=False, can_deep=False)
    ledger = placed(a_ledger(), always)
    assert isinstance(admit(ledger, a_need("i-b", 40 * GIB), 0), Denied)
    assert not isinstance(admit(ledger, a_need("i-b", 20 * GIB), 0), Denied)


def test_a_whole_card_is_nobody_elses():
    ledger = placed(a_ledger(H100, H100_TOO), a_need("i-w", 10 * GIB, is_whole=True))
    ledger = placed(ledger, a_need("i-s", 10 * GIB), a_need("i-t", 10 * GIB))
    assert [ledger.holdings[n].cards for n in ("i-w", "i-s", "i-t")] == [(A,), (B,), (B,)]
    denied = admit(ledger, a_need("i-v", 10 * GIB, is_whole=True), 0)
    assert isinstance(denied, Denied) and not denied.is_final
    both = admit(a_ledger(H100, H100_TOO), a_need("i-2", 10 * GIB, cards=2, is_whole=True), 0)
    assert good(both).holdings["i-2"].cards == (A, B)


def test_host_memory_is_reserved_for_every_sleeper_and_never_over_committed():
    one = round(16 * GIB * 1.4) + 4 * GIB + 4 * GIB  # pinned, tree, residue
    ledger = placed(a_ledger(ram=2 * one), a_need("i-a"), a_need("i-b"))
    assert host_bytes(ledger, ledger.holdings["i-a"]) == one
    denied = admit(ledger, a_need("i-c"), 0)
    assert isinstance(denied, Denied) and "0.0 GB of 60.8 GB are not reserved" in denied.reason
    assert not denied.is_final
    assert admit(a_ledger(ram=one - 1), a_need(), 0).is_final


def test_measured_pinned_memory_replaces_the_estimate():
    ledger = slept(placed(a_ledger(), a_need()), "i-a", 2 * GIB, 22 * GIB)
    assert host_bytes(ledger, ledger.holdings["i-a"]) == (22 + 4 + 2) * GIB
    ledger = placed(ledger, a_need("i-b"), a_need("i-c", model="other"))
    assert host_bytes(ledger, ledger.holdings["i-b"]) == (22 + 4 + 2) * GIB
    assert host_bytes(ledger, ledger.holdings["i-c"]) == round(22.4 * GIB) + 8 * GIB
    assert overdrawn(replace(ledger, ram_bytes=50 * GIB)) != ()


@pytest.mark.parametrize(
    ("tier", "gib"),
    [
        (Tier.DOWN, 0),
        (Tier.STARTING, 41),
        (Tier.AWAKE, 41),
        (Tier.WAKING, 41),
        (Tier.ASLEEP, 4),
        (Tier.DEEP, 0),
    ],
    ids=lambda value: value.value if isinstance(value, Tier) else "",
)
def test_what_a_tier_holds(tier, gib):
    ledger = placed(a_ledger(), a_need())
    assert charge(ledger, ledger.holdings["i-a"], tier) == gib * GIB


def test_a_residue_is_never_more_than_all():
    ledger = placed(a_ledger(), a_need(awake=GIB))
    assert residue(ledger, ledger.holdings["i-a"]) == GIB


def test_nothing_grows_beyond_its_card():
    ledger = placed(a_ledger(), a_need("i-a"), a_need("i-b"), tiers={"i-a": Tier.AWAKE})
    denied = moved(ledger, "i-b", Tier.WAKING, 0)
    assert isinstance(denied, Denied) and not denied.is_final
    assert denied.reason.startswith("instance i-b needs 41.0 GB more on card GPU-a")
    assert overdrawn(good(moved(ledger, "i-b", Tier.ASLEEP, 0))) == ()


def test_what_others_hold_is_not_ours_to_give():
    ledger = placed(a_ledger(), a_need())
    ledger = observed(ledger, A, FLOOR + 40 * GIB, 40 * GIB)
    assert isinstance(moved(ledger, "i-a", Tier.STARTING, 0), Denied)
    assert not isinstance(moved(observed(ledger, A, FLOOR, 0), "i-a", Tier.STARTING, 0), Denied)


def test_a_lost_card_has_room_for_nobody_until_it_is_read_again():
    ledger = lost(a_ledger(), A)
    assert capacity(ledger, A) == 0
    assert isinstance(admit(ledger, a_need(), 0), Denied)
    assert capacity(observed(ledger, A, FLOOR, 0), A) > 0


def test_requests_go_only_to_who_is_awake():
    ledger = placed(a_ledger(), a_need("i-a"), a_need("i-b"), tiers={"i-a": Tier.AWAKE})
    assert isinstance(request_began(ledger, "i-b", 5), Denied)
    busy = good(request_began(ledger, "i-a", 5))
    assert (busy.holdings["i-a"].in_flight, busy.holdings["i-a"].used_ns) == (1, 5)
    free = request_ended(busy, "i-a", 9)
    assert (free.holdings["i-a"].in_flight, free.holdings["i-a"].used_ns) == (0, 9)


def test_a_growing_residue_is_told():
    ledger = slept(placed(a_ledger(), a_need()), "i-a", 1920 * MIB, None)
    assert has_grown(ledger, "i-a", 2400 * MIB) is None
    assert has_grown(ledger, "i-a", 6000 * MIB) == (
        "instance i-a left 6000 MB on its card asleep, 1920 MB the time before: checkpoint it, or replace it"
    )
    assert has_grown(placed(a_ledger(), a_need()), "i-a", 6000 * MIB) is None  # the first one is no growth


@pytest.mark.parametrize(("tier", "gib"), [(Tier.AWAKE, 41), (Tier.ASLEEP, 4), (Tier.DOWN, 0)], ids=str)
def test_an_ended_one_holds_what_it_held(tier, gib):
    ledger = ending(placed(a_ledger(), a_need(), tiers={"i-a": tier}), "i-a")
    assert held(ledger, A) == gib * GIB
    kept = observed(ledger, A, FLOOR + gib * GIB, 0).holdings
    assert ("i-a" in kept) is (gib > 0)


def test_a_place_may_be_given_while_its_former_owner_ends():
    whole = a_need("i-a", 60 * GIB, is_whole=True), a_need("i-b", 60 * GIB, is_whole=True)
    ledger = ending(placed(a_ledger(), whole[0], tiers={"i-a": Tier.AWAKE}), "i-a")
    ledger = good(admit(ledger, whole[1], 0))
    assert isinstance(moved(ledger, "i-b", Tier.STARTING, 0), Denied)
    assert not isinstance(moved(observed(ledger, A, FLOOR, 0), "i-b", Tier.STARTING, 0), Denied)


def test_an_ended_one_of_two_cards_is_gone_when_both_show_it():
    ledger = placed(a_ledger(H100, H100_TOO), a_need("i-a", cards=2), tiers={"i-a": Tier.AWAKE})
    ledger = observed(ending(ledger, "i-a"), A, FLOOR, 0)
    assert ledger.holdings["i-a"].cards == (B,)
    assert observed(ledger, B, FLOOR, 0).holdings == {}


@pytest.mark.parametrize("wrong", [{"can_sleep": False}, {"cards": 0}, {"awake": 0}], ids=str)
def test_a_need_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="instance i-a"):
        a_need(**wrong)

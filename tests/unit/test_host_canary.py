"""Which version a request to an alias goes to, and how its pool is divided."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.host.canary import Share, Splitter, lane_of, shares_of, split
from tickover.host.instance import PoolKey

KEY = PoolKey("chat-dev", "live")
REQUESTS = 10_000
WEIGHTS = st.floats(0.0001, 0.9999)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, [("1", 1.0)]),
        ({}, [("1", 1.0)]),
        ({"2": 0.0}, [("1", 1.0)]),
        ({"2": 0.25}, [("1", 0.75), ("2", 0.25)]),
        ({"2": 1.0}, [("2", 1.0)]),
    ],
)
def test_a_version_without_weight_is_none_of_the_aliases_versions(weights, expected):
    alias = {"versionId": "1", "additionalVersionWeight": weights}
    assert [(share.version_id, share.weight) for share in shares_of(alias)] == expected


@pytest.mark.parametrize(
    ("target", "weight", "sizes"),
    [
        (0, 0.5, (0, 0)),
        (1, 0.05, (1, 1)),
        (2, 0.05, (1, 1)),
        (10, 0.05, (9, 1)),
        (10, 0.25, (8, 2)),
        (10, 0.5, (5, 5)),
        (10, 0.99, (1, 9)),
    ],
)
def test_a_pool_is_divided_by_weight_and_each_version_has_one(target, weight, sizes):
    assert split(target, (Share("1", 1 - weight), Share("2", weight))) == sizes
    assert split(target, (Share("1", 1.0),)) == (target,)


@given(st.integers(2, 10_000), WEIGHTS)
def test_a_pool_of_several_is_not_made_larger(target, weight):
    sizes = split(target, (Share("1", 1 - weight), Share("2", weight)))
    assert sum(sizes) == target
    assert min(sizes) >= 1


@given(WEIGHTS)
def test_after_any_number_of_requests_a_version_is_less_than_one_away_from_its_share(weight):
    splitter, sent = Splitter(), 0
    for number in range(1, 2001):
        sent += splitter.to_canary(KEY, weight)
        assert abs(sent - number * weight) < 1


@pytest.mark.parametrize("weight", [0.01, 0.05, 0.1, 1 / 3, 0.5, 0.75, 0.99])
def test_ten_thousand_requests_split_exactly(weight):
    splitter = Splitter()
    sent = sum(splitter.to_canary(KEY, weight) for _ in range(REQUESTS))
    assert sent == pytest.approx(REQUESTS * weight, abs=1)


@pytest.mark.parametrize("weight", [0.05, 0.1, 0.25, 1 / 3, 0.5, 0.8])
@pytest.mark.parametrize("period", [2, 3, 4, 5, 10, 20])
def test_no_rhythm_of_the_callers_sends_one_kind_of_request_to_one_version(weight, period):
    splitter = Splitter()
    sent = [0] * period
    for number in range(REQUESTS):
        sent[number % period] += splitter.to_canary(KEY, weight)
    expected = REQUESTS * weight / period
    assert max(abs(count - expected) for count in sent) <= max(20, 0.25 * expected)


@given(st.lists(st.tuples(WEIGHTS, st.integers(1, 50)), min_size=1, max_size=20))
def test_weights_that_change_owe_nothing_from_before(changes):
    splitter = Splitter()
    for weight, count in changes:
        sent = sum(splitter.to_canary(KEY, weight) for _ in range(count))
        assert abs(sent - count * weight) < 2


def test_a_session_stays_with_its_version_until_the_weight_passes_it():
    splitter = Splitter()
    sessions = [f"session-{number}" for number in range(2000)]
    for session in sessions:
        first = splitter.to_canary(KEY, 0.3, session)
        assert all(splitter.to_canary(KEY, 0.3, session) is first for _ in range(3))
        assert Splitter().to_canary(KEY, 0.3, session) is first, "the next host sends it there too"
        path = [splitter.to_canary(KEY, weight, session) for weight in (0.0, 0.1, 0.3, 0.6, 0.9, 1.0)]
        assert path[0] is False
        assert path[-1] is True
        assert all(after or not before for before, after in pairwise(path)), "it never goes back"
    there = sum(splitter.to_canary(KEY, 0.3, session) for session in sessions)
    assert there == pytest.approx(600, abs=90)  # more than four standard deviations


def test_sessions_do_not_change_what_others_get():
    splitter, sent, chance = Splitter(), 0, random.Random(3)
    for _ in range(1000):
        splitter.to_canary(KEY, 0.2, f"session-{chance.randrange(5)}")
        sent += splitter.to_canary(KEY, 0.2)
    assert sent == pytest.approx(200, abs=1)


def test_the_count_of_an_alias_that_is_gone_is_forgotten():
    splitter = Splitter()
    assert sum(splitter.to_canary(KEY, 0.5) for _ in range(3)) in (1, 2)
    splitter.keep([KEY])
    assert splitter._counts
    splitter.keep([])
    assert not splitter._counts


def test_a_version_that_changes_its_place_keeps_its_instances():
    canary = KEY.other
    wanted = {KEY: "v2", canary: "v1"}  # the other way round than before
    assert lane_of(KEY, "v1", wanted) == canary
    assert lane_of(canary, "v2", wanted) == KEY
    assert lane_of(canary, "v2", {KEY: "v2"}) == KEY, "promoted"
    assert lane_of(KEY, "v0", wanted) == KEY, "a former revision stays"
    assert lane_of(canary, "v0", wanted) == canary

"""Where a prompt goes whose beginning is known somewhere: digests, what is remembered, and the choice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.host_core import ManualClock, an_instance, pool_of
from tickover.host.admission import pick
from tickover.host.desk import Desk
from tickover.host.instance import Instance, PoolSettings
from tickover.host.model import Deepest, Lease, Prefix
from tickover.host.model import InstanceState as S
from tickover.host.prefix import BLOCK_BYTES, LOOK_BYTES, MOST_BLOCKS, PrefixTable, prefix_of
from tickover.host.roster import Roster
from tickover.host.states import Event
from tickover.host.waiting import Waiter

CHAT = "/v1/chat/completions"
SYSTEM = {"role": "system", "content": "You answer in rhymes. " * 60}


def chat(*messages: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [*messages], **more}).encode()


def says(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def prefix(*messages: dict[str, Any], **more: Any) -> Prefix:
    found = prefix_of(CHAT, chat(*messages, **more))
    assert found is not None
    return found


def common(one: Prefix, other: Prefix) -> int:
    pairs = zip(one.blocks, other.blocks, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one.blocks), len(other.blocks)))


# -- what a prompt begins with -----------------------------------------------------------------------------


def test_the_next_turn_begins_with_the_whole_turn_before():
    first = [SYSTEM, says("user", "Why is the sky blue? " * 40)]
    second = [*first, says("assistant", "It scatters. " * 50), says("user", "And at night?")]
    before, after = prefix(*first), prefix(*second, stream=True, temperature=0.5)
    assert common(before, after) == len(before.blocks)


def test_other_users_share_the_system_prompt_and_no_more():
    one, other = (prefix(SYSTEM, says("user", text * 200)) for text in ("red ", "blue "))
    blocks = -(-len(json.dumps(SYSTEM)) // BLOCK_BYTES)
    assert common(one, other) == one.enough == blocks


def test_a_short_system_prompt_is_not_enough_to_follow():
    short = says("system", "You are a helpful assistant.")
    one, other = (prefix(short, says("user", text * 400)) for text in ("red ", "blue "))
    assert common(one, other) == 1 < one.enough


@pytest.mark.parametrize("form", [{"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}])
def test_the_way_in_which_json_is_written_does_not_matter_to_the_cut(form):
    turns = [SYSTEM, says("user", 'He said: "{\\"role\\": 1}], [{"role": "user"}" ü ' * 20)]
    more = [*turns, says("assistant", "So?")]
    one, other = (
        prefix_of(CHAT, json.dumps({"messages": messages}, **form).encode()) for messages in (turns, more)
    )
    assert one is not None and other is not None
    assert common(one, other) == len(one.blocks)


def test_another_model_of_the_same_server_shares_nothing():
    assert common(prefix(SYSTEM), prefix(SYSTEM, model="tuned")) == 0
    last = prefix_of(CHAT, json.dumps({"messages": [SYSTEM], "model": "m"}).encode())
    assert last is not None
    assert last.blocks == prefix(SYSTEM).blocks


def test_a_completion_is_known_by_whole_blocks_of_its_prompt():
    text = "Once upon a time. " * 100
    one = prefix_of("/v1/completions", json.dumps({"prompt": text}).encode())
    other = prefix_of("/v1/completions", json.dumps({"prompt": text + "The end.", "n": 1}).encode())
    assert one is not None and other is not None
    assert common(one, other) == len(text) // BLOCK_BYTES


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, b""),
        (CHAT, chat()),
        (CHAT, chat(says("user", "Hello"))),
        (CHAT, b"messages" * 1000),
        (CHAT, b'"messages"' * 1000),
        (CHAT, b'{"messages": "' + b"x" * 2000),
        (CHAT, b"\x1f\x8b" + bytes(5000)),
        ("/v1/completions", b'{"prompt": "short"}'),
        ("/v1/embeddings", chat(SYSTEM)),
        ("/v1/chat/completions/", chat(SYSTEM)),
    ],
)
def test_what_is_no_prompt_or_a_short_one_has_no_beginning(path, body):
    assert prefix_of(path, body) is None


def test_no_body_makes_more_than_the_bound():
    many = prefix(SYSTEM, *[says("user", "x")] * 5000)
    assert len(many.blocks) == MOST_BLOCKS
    long = prefix(says("user", "long " * 200_000))
    assert len(long.blocks) == LOOK_BYTES // BLOCK_BYTES


@given(st.binary(max_size=2000))
def test_any_bytes_have_a_beginning_or_none(data):
    found = prefix_of(CHAT, b'{"messages": [' + data)
    assert found is None or 1 <= found.enough <= len(found.blocks) <= MOST_BLOCKS


# -- what is remembered ------------------------------------------------------------------------------------


def test_an_instance_knows_what_it_was_given_until_it_is_forgotten():
    table, asked = PrefixTable(), Prefix((1, 2, 3, 4), 2)
    assert table.known(asked, "i-a") == 0
    table.learn(Prefix((1, 2, 9), 2), "i-a")
    assert (table.known(asked, "i-a"), table.is_hit(asked, "i-a")) == (2, True)
    assert table.known(asked, "i-b") == 0
    table.forget("i-a")
    assert not table.is_hit(asked, "i-a")


def test_what_was_not_used_for_long_is_dropped_from_its_end():
    table = PrefixTable(kept_blocks=4)
    table.learn(Prefix((1, 2, 3), 1), "i-a")
    table.learn(Prefix((7, 8), 1), "i-a")
    assert table.size("i-a") == 4
    assert table.known(Prefix((1, 2, 3), 1), "i-a") == 2
    assert table.known(Prefix((7, 8), 1), "i-a") == 2


# -- who gets it -------------------------------------------------------------------------------------------

ASKED = Prefix((1, 2, 3, 4), 2)


def chosen(loads: dict[str, int], given: dict[str, tuple[int, ...]], concurrency: int = 16) -> str | None:
    table = PrefixTable()
    for name, blocks in given.items():
        table.learn(Prefix(blocks, 1), name)
    there = [
        an_instance(S.BUSY if load else S.READY, name=name, in_flight=load, concurrency=concurrency)
        for name, load in loads.items()
    ]
    found = pick(there, "r1", table.order(ASKED, there))
    return None if found is None else found.instance_id


@pytest.mark.parametrize(
    ("loads", "given", "wanted"),
    [
        ({"a": 0, "b": 0}, {"b": (1, 2)}, "b"),
        ({"a": 0, "b": 3}, {"b": (1, 2)}, "b"),  # a quarter of its concurrency is light in any case
        ({"a": 0, "b": 4}, {"b": (1, 2)}, "a"),
        ({"a": 6, "b": 7}, {"b": (1, 2)}, "b"),  # below 1.25 times the average
        ({"a": 2, "b": 7}, {"b": (1, 2)}, "a"),
        ({"a": 0, "b": 0}, {"a": (1, 2), "b": (1, 2, 3)}, "b"),
        ({"a": 0, "b": 0, "c": 9}, {"c": (1, 2, 3, 4), "b": (1, 2)}, "b"),
        ({"a": 0, "b": 0}, {"b": (1,)}, "a"),  # too little to follow
        ({"a": 0, "b": 0}, {"a": (7, 8, 9)}, "b"),  # a new one goes to whom least was given
        ({"a": 2, "b": 1}, {"b": (7, 8, 9)}, "b"),
        ({"a": 1, "b": 0}, {"a": (1, 2), "b": (1, 2)}, "b"),
        ({"a": 16, "b": 16}, {"a": ASKED.blocks}, None),
    ],
)
def test_the_longest_known_beginning_wins_unless_its_instance_has_too_much_to_do(loads, given, wanted):
    assert chosen(loads, given) == wanted


def test_at_one_request_at_a_time_the_known_instance_is_taken_only_when_free():
    assert chosen({"a": 0, "b": 1}, {"b": ASKED.blocks}, concurrency=1) == "a"
    assert chosen({"a": 0, "b": 0}, {"b": ASKED.blocks}, concurrency=1) == "b"


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.lists(st.sets(st.integers(1, 4)), min_size=5, max_size=5),
)
def test_somebody_is_chosen_whenever_anybody_has_room(loads, given):
    named = {f"i-{number}": load for number, load in enumerate(loads)}
    known = {f"i-{number}": tuple(blocks) for number, blocks in enumerate(given)}
    found = chosen(named, known, concurrency=4)
    assert (found is None) == (min(loads) >= 4)
    assert found is None or named[found] < 4


# -- at the desk -------------------------------------------------------------------------------------------


def desk_of(*instances: Instance) -> Desk:
    roster = Roster()
    for instance in instances:
        roster.add(instance)
    return Desk(roster, ManualClock(), PoolSettings(), lambda *_: None, lambda _: "127.0.0.1")


def asked(desk: Desk, instance: Instance) -> Lease:
    found = desk.enter(instance.key, prefix=ASKED)
    assert isinstance(found, Lease)
    return found


def test_a_lease_says_whether_the_beginning_was_known_and_the_request_follows_it():
    one, two = (an_instance(S.READY, name=name, concurrency=8) for name in ("i-a", "i-b"))
    desk = desk_of(one, two)
    plain = desk.acquire_now(one.key)
    assert plain is not None
    assert (plain.prefix, plain.instance_id) == ("", "i-a")
    found = [asked(desk, one) for _ in range(2)]
    assert [(lease.prefix, lease.instance_id) for lease in found] == [("miss", "i-b"), ("hit", "i-b")]


@pytest.mark.parametrize(
    ("state", "rung", "kept"),
    [
        (S.IDLE, Deepest.FREEZE, True),
        (S.READY, Deepest.NONE, True),
        (S.IDLE, Deepest.SLEEP, False),
        (S.IDLE, Deepest.CHECKPOINT, False),
        (S.FAILED, Deepest.NONE, False),
        (S.STOPPING, Deepest.NONE, False),
    ],
)
def test_a_server_that_slept_or_ended_has_forgotten(state, rung, kept):
    one = an_instance(S.READY, name="i-a", concurrency=8)
    desk = desk_of(one)
    desk.give_back(asked(desk, one))
    one.state, one.rung = state, rung
    desk.changed(one)
    one.state, one.rung = S.READY, Deepest.NONE
    assert asked(desk, one).prefix == ("hit" if kept else "miss")


def test_of_idle_instances_the_one_that_knows_the_beginning_wakes() -> None:
    one, two = (an_instance(S.READY, name=name, concurrency=8) for name in ("i-a", "i-b"))
    woken: list[str] = []
    roster = Roster()
    for instance in (one, two):
        roster.add(instance)
    roster.pools[one.key] = pool_of(target=2)

    def happened(instance: Instance, event: Event, reason: str) -> None:
        if event is Event.WAKE_ASKED:
            instance.state = S.WAKING
            woken.append(instance.instance_id)

    desk = Desk(roster, ManualClock(), PoolSettings(), happened, lambda _: "127.0.0.1")
    desk.give_back(asked(desk, one))
    one.state = two.state = S.IDLE
    one.empty_mono_ns, two.empty_mono_ns = 1, 2  # without it, the one that was used last wakes

    async def scenario() -> None:
        waiter = desk.enter(one.key, prefix=ASKED)
        assert isinstance(waiter, Waiter)
        assert woken == ["i-a"]
        one.state = S.READY
        desk.changed(one)
        assert (waiter.grant.result().instance_id, waiter.grant.result().prefix) == ("i-a", "hit")

    asyncio.run(scenario())

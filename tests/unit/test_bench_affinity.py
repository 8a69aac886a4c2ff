"""The affinity bench counts against affinity what it should, and plans its troubles."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from bench.affinity.callers import Answer, Caller, Seen
from bench.affinity.trouble import Trouble, schedule

HOME = "i-home"


def judged(answer: Answer, *, alive: bool, before: str = HOME) -> Seen:
    """What is counted for an answer to a request of a session at home on i-home."""
    seen = Seen()

    async def lives(function: str, instance: str) -> bool:
        return alive

    async def judge() -> None:
        caller = Caller("f", 1, 0, seen, lives, random.Random(1))
        caller._settle(HOME)
        await caller._judge(answer, before)

    asyncio.run(judge())
    return seen


@pytest.mark.parametrize(
    ("answer", "alive", "counted"),
    [
        (Answer(200, HOME), True, "kept"),
        (Answer(200, HOME), False, "kept"),
        (Answer(200, "i-other"), True, "moved"),
        (Answer(200, ""), True, "moved"),
        (Answer(200, "i-other"), False, "home_gone"),
        (Answer(401), True, "refused"),
        (Answer(404, HOME), True, "refused"),
        (Answer(0), True, "refused"),
        (Answer(502), False, "home_gone"),
    ],
)
def test_an_answer_counts_against_affinity_unless_its_home_is_gone(answer, alive, counted):
    seen = judged(answer, alive=alive)
    assert {name: getattr(seen, name) for name in ("kept", "moved", "refused", "home_gone")} == {
        **dict.fromkeys(("kept", "moved", "refused", "home_gone"), 0),
        counted: 1,
    }
    assert len(seen.against) == (counted in ("moved", "refused"))


def test_an_answer_that_was_under_way_when_the_session_moved_is_no_move():
    assert judged(Answer(200, "i-former"), alive=True, before="i-former").kept == 1


def test_a_session_whose_home_is_gone_has_another_one_at_most_once():
    assert judged(Answer(200, "i-other"), alive=False).homes == Counter({HOME: 1, "i-other": 1})


def test_every_function_has_every_kind_of_trouble_in_as_many_cycles_as_there_are_kinds():
    plan = schedule(4, ("a", "b"))
    assert Counter(plan) == {(kind, name): 1 for kind in Trouble for name in ("a", "b")}

"""Operations that are asked to end early, and how much goes on at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.engine_scripted import Stack, name_of
from tickover.engine import operation, phases
from tickover.engine.integrity import violations
from tickover.engine.operations import Canceller
from tickover.errors import Exit


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


def pressing(stack, times, then=None):
    """A scripted moment at which Ctrl-C comes; then: what the call does afterwards."""
    stack.canceller = canceller = Canceller()

    async def moment():
        for _ in range(times):
            canceller.cancel()
        if then is not None:
            await then()

    return moment


async def forever():
    await asyncio.Event().wait()


def pending(stack):
    return [(p.type.value, name_of(p.resource.urn)) for p in stack.deployment().pending_operations]


def test_once_lets_what_runs_finish_and_begins_nothing(stack):
    stack.world.before["create a"] = pressing(stack, 1)
    outcome = stack.up('a = Thing("a")\nThing("b", of=a.token)\npulumi.export("t", a.token)\n')
    assert (outcome.result, outcome.exit_code) == ("cancelled", Exit.CANCELLED)
    assert stack.world.effects() == ["create a"] and stack.names() == ["a"] and pending(stack) == []
    assert "cancel" not in stack.world.calls  # a provider is not told to give up by the first press
    stack.canceller = None
    assert stack.up().result == "succeeded" and stack.world.effects() == ["create a", "create b"]


def test_once_while_planning_changes_nothing(stack):
    stack.world.before["check a"] = pressing(stack, 1)
    outcome = stack.up('Thing("a")')
    assert outcome.exit_code is Exit.CANCELLED and stack.world.effects() == []
    assert outcome.plan.violations == () and stack.deployment().resources == ()


def test_once_while_deleting_keeps_the_rest(stack):
    stack.up('a = Thing("a")\nThing("b", of=a.token)\n')
    stack.world.before["delete b"] = pressing(stack, 1)
    assert stack.destroy().exit_code is Exit.CANCELLED
    assert stack.names() == ["a"] and stack.world.effects()[2:] == ["delete b"]


@pytest.mark.parametrize("verb", ["create", "update", "delete", "destroy"])
def test_twice_stops_names_what_may_be_orphaned_and_leaves_it_pending(stack, monkeypatch, verb):
    monkeypatch.setattr(operation, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(phases, "GRACE_SECONDS", 0.5)
    if verb != "create":
        stack.up('Thing("a", size=1)')
    moment = pressing(stack, 2, forever)
    program = {"create": 'Thing("a", size=1)', "update": 'Thing("a", size=2)'}.get(verb, "")
    stack.world.before[f"{'delete' if verb == 'destroy' else verb} a"] = moment
    begun = time.monotonic()
    outcome = stack.destroy() if verb == "destroy" else stack.up(program)
    assert time.monotonic() - begun < 5
    assert (outcome.result, outcome.exit_code) == ("cancelled", Exit.CANCELLED)
    word = {"create": "creating", "update": "updating"}.get(verb, "deleting")
    assert any("::a (" + word + ")" in d and "may exist" in d for d in outcome.diagnostics)
    assert pending(stack) == [(word, "a")] and "cancel" in stack.world.calls
    stack.canceller = None
    stack.world.before.clear()
    assert not stack.backend.holders("demo", "dev")
    final = stack.up(program)
    assert final.result == "succeeded" and pending(stack) == [] and violations(stack.deployment()) == ()
    assert stack.names() == (["a"] if program else [])


def test_a_call_that_gives_up_when_told_is_not_orphaned(stack):
    told = {}

    async def until_told():
        for _ in range(1000):
            if "cancel" in stack.world.calls:
                break
            await asyncio.sleep(0)
        told["it"] = True

    stack.world.before["create a"] = pressing(stack, 2, until_told)
    outcome = stack.up('Thing("a")')
    assert outcome.exit_code is Exit.CANCELLED and told
    assert pending(stack) == [] and stack.names() == ["a"]


def test_twice_ends_a_program_that_hangs(stack, monkeypatch):
    monkeypatch.setattr(phases, "GRACE_SECONDS", 0.05)
    moment = pressing(stack, 2)
    stack.world.before["check a"] = moment
    outcome = stack.preview('import time\nThing("a")\nimport threading\nthreading.Event().wait(2)\n')
    assert outcome.exit_code is Exit.CANCELLED


def meeting(stack, names):
    """Calls that wait for each other, as long as that can be."""
    state = {"now": 0, "most": 0}

    async def moment():
        state["now"] += 1
        state["most"] = max(state["most"], state["now"])
        for _ in range(20):
            await asyncio.sleep(0)
            if state["most"] == len(names):
                break
        await asyncio.sleep(0.05)
        state["now"] -= 1

    for name in names:
        stack.world.before[name] = moment
    return state


@pytest.mark.parametrize(("parallel", "most"), [(16, 2), (1, 1)])
def test_independent_creations_and_deletions_overlap_unless_forbidden(stack, parallel, most):
    stack.parallel = parallel
    state = meeting(stack, ["create a", "create b"])
    assert stack.up('Thing("a")\nThing("b")\n').result == "succeeded"
    assert state["most"] == most
    state = meeting(stack, ["delete a", "delete b"])
    assert stack.destroy().result == "succeeded"
    assert state["most"] == most

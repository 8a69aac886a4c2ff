"""Refresh: what really is, taken into the state."""

from __future__ import annotations

import pytest

from tests.support.engine_ops import FileStack, plan_lines
from tests.support.engine_scripted import Stack, name_of
from tickover.engine.integrity import violations
from tickover.engine.provider import InitFailed, Unimplemented
from tickover.errors import Exit

PROGRAM = 'a = Thing("a", size=1)\nb = Thing("b", of=a.token)\n'


@pytest.fixture
def stack(tmp_path):
    stack = FileStack(tmp_path)
    stack.up(PROGRAM)
    return stack


def things(stack):
    return {name_of(r.urn): r for r in stack.deployment().resources if r.type == "test:index:Thing"}


def raising(error):
    async def moment():
        raise error

    return moment


def drift(stack, **values):
    world = stack.file_world
    world.put("a/1", {**world.things()["a/1"], **values})


def test_drift_is_reported_and_then_repaired(stack):
    drift(stack, size=5)
    before = stack.state_text()
    shown = stack.refresh(preview_only=True)
    assert "update a [drifted: size]" in plan_lines(shown) and shown.plan.has_changes
    assert stack.state_text() == before
    assert stack.refresh().result == "succeeded"
    assert things(stack)["a"].inputs["size"] == things(stack)["a"].outputs["size"] == 5
    assert "update a [changed: size]" in plan_lines(stack.up())
    assert stack.file_world.things()["a/1"]["size"] == 1


def test_what_is_gone_is_forgotten_with_the_references_to_it(stack):
    stack.file_world.put("a/1", None)
    outcome = stack.refresh()
    assert "delete a [gone: it no longer exists]" in plan_lines(outcome)
    assert list(things(stack)) == ["b"] and violations(stack.deployment()) == ()
    assert stack.up().result == "succeeded" and sorted(stack.names()) == ["a", "b"]


def test_a_preview_with_refresh_sees_drift_and_writes_nothing(stack):
    drift(stack, size=5)
    before = stack.state_text()
    assert stack.preview().plan.has_changes is False
    assert "update a [changed: size]" in plan_lines(stack.preview(refresh=True))
    assert stack.state_text() == before


def test_a_read_that_fails_changes_nothing(tmp_path):
    stack = Stack(tmp_path)
    stack.up(PROGRAM)
    before = stack.state_text()
    stack.world.before["read a"] = raising(RuntimeError("connection lost"))
    outcome = stack.refresh()
    assert outcome.exit_code is Exit.INTERNAL and "connection lost" in outcome.diagnostics[0]
    assert stack.state_text() == before
    assert stack.up(refresh=True).exit_code is Exit.INTERNAL and stack.state_text() == before


def test_what_cannot_be_read_stays_and_what_is_half_made_says_so(tmp_path):
    stack = Stack(tmp_path)
    stack.up(PROGRAM)
    stack.world.before["read a"] = raising(Unimplemented("read"))
    stack.world.before["read b"] = raising(InitFailed("b-2", {"token": "t"}, ("still starting",)))
    outcome = stack.refresh()
    assert outcome.result == "succeeded" and "still starting" in outcome.diagnostics
    assert things(stack)["a"].outputs["token"] == "token of a-1"
    assert things(stack)["b"].init_errors == ("still starting",)

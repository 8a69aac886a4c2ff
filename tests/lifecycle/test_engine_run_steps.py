"""Programs against a scripted provider: which steps are planned, what is called, what is remembered."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.engine_scripted import Stack, name_of
from tickover.engine.integrity import violations
from tickover.engine.operations import Canceller
from tickover.engine.provider import CheckFailure, InitFailed
from tickover.engine.values import UNKNOWN, Secret
from tickover.errors import Exit, TickoverError

CHAIN = """
a = Thing("a", size={size})
b = Thing("b", of=a.token)
pulumi.export("token", b.token)
"""


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


def ops(outcome):
    """``op name`` of every step that is not `same`."""
    return [f"{s.op.value} {s.name}" for s in outcome.plan.steps if s.op.value != "same"]


def entry(stack, name):
    return next(r for r in stack.deployment().resources if name_of(r.urn) == name)


def fails(message):
    async def fail():
        raise TickoverError("broken", "Broken", message, exit_code=Exit.RESOURCE)

    return fail


def test_a_preview_has_unknowns_and_no_effect(stack):
    outcome = stack.preview(CHAIN.format(size=1))
    assert ops(outcome) == ["create demo-dev", "create default", "create a", "create b"]
    assert outcome.outputs == {"token": UNKNOWN}
    assert stack.world.effects() == []
    assert not stack.backend.exists("demo", "dev")


def test_an_up_creates_in_order_and_a_second_one_does_nothing(stack):
    assert stack.up(CHAIN.format(size=1)).outputs == {"token": "token of b-1"}
    assert stack.world.effects() == ["create a", "create b"]
    assert violations(stack.deployment()) == ()
    before = stack.state_text()
    stack.world.calls.clear()
    again = stack.up()
    assert (again.result, again.plan.has_changes) == ("succeeded", False)
    assert stack.world.effects() == []
    assert stack.state_text() == before


def test_a_changed_input_is_an_update(stack):
    stack.up(CHAIN.format(size=1))
    outcome = stack.up(CHAIN.format(size=2))
    assert ops(outcome)[0] == "update a"
    assert entry(stack, "a").inputs == {"size": 2}
    assert entry(stack, "a").id == "a-1"


def test_a_replacement_comes_before_the_old_one_goes(stack):
    stack.up('a = Thing("a", kind="x")')
    stack.world.calls.clear()
    outcome = stack.up('a = Thing("a", kind="y")')
    assert ops(outcome) == ["create-replacement a", "replace a", "delete-replaced a"]
    assert stack.world.effects() == ["create a", "delete a"]
    assert entry(stack, "a").id == "a-2"
    assert outcome.plan.counts["replace"] == 1


def test_delete_before_replace_takes_its_dependants_along(stack):
    program = 'a = Thing("a", Opts(delete_before_replace=True), kind="{}")\nb = Thing("b", kind=a.token)'
    stack.up(program.format("x"))
    stack.world.calls.clear()
    assert stack.up(program.format("y")).result == "succeeded"
    assert stack.world.effects() == ["delete b", "delete a", "create a", "create b"]
    assert not any(r.pending_replacement for r in stack.deployment().resources)


def test_what_is_no_longer_declared_goes_in_reverse_order(stack):
    stack.up('a = Thing("a")\nb = Thing("b", Opts(depends_on=[a]))\nc = Thing("c", Opts(depends_on=[b]))')
    stack.world.calls.clear()
    stack.up("")
    assert stack.world.effects() == ["delete c", "delete b", "delete a"]
    assert stack.world.things == {}


def test_destroy_empties_the_stack_in_reverse_order(stack):
    stack.up(CHAIN.format(size=1))
    stack.world.calls.clear()
    assert stack.destroy().result == "succeeded"
    assert stack.world.effects() == ["delete b", "delete a"]
    assert stack.deployment().resources == ()


def test_a_protected_resource_stops_a_destroy_before_anything_goes(stack):
    stack.up('a = Thing("a", Opts(protect=True))\nb = Thing("b")')
    assert stack.destroy().result == "failed"
    assert sorted(id_ for _, id_ in stack.world.things) == ["a-1", "b-1"]


def test_children_of_components_are_named_by_their_parents_types(stack):
    stack.up('g = Group("g")\na = Thing("a", Opts(parent=g))')
    assert entry(stack, "a").urn == "urn:pulumi:dev::demo::test:index:Group$test:index:Thing::a"
    assert entry(stack, "a").parent == entry(stack, "g").urn


def test_a_secret_input_makes_the_output_of_its_name_secret(stack):
    stack.up('a = Thing("a", key=pulumi.Output.secret("hunter2"))')
    assert entry(stack, "a").outputs["key"] == Secret("hunter2")
    assert "hunter2" not in stack.state_text()


def test_additional_secret_outputs_are_encrypted(stack):
    stack.up('a = Thing("a", Opts(additional_secret_outputs=["token"]))')
    assert entry(stack, "a").outputs["token"] == Secret("token of a-1")
    assert "token of a-1" not in stack.state_text()


def test_ignored_changes_are_no_changes(stack):
    program = 'a = Thing("a", Opts(ignore_changes=["size"]), size={})'
    stack.up(program.format(1))
    assert ops(stack.preview(program.format(2))) == []


def test_an_alias_keeps_the_resource(stack):
    stack.up('a = Thing("a")')
    stack.world.calls.clear()
    stack.up('b = Thing("b", Opts(aliases=[pulumi.Alias(name="a")]))')
    assert stack.world.effects() == []
    assert [(name, entry(stack, name).id) for name in stack.names()] == [("b", "a-1")]


def test_what_is_retained_is_forgotten_and_not_deleted(stack):
    stack.up('a = Thing("a", Opts(retain_on_delete=True))')
    stack.up("")
    assert stack.names() == []
    assert ("", "a-1") in stack.world.things


def test_a_failure_leaves_what_depends_on_it_and_is_repaired_by_the_next_run(stack):
    program = 'a = Thing("a")\nb = Thing("b", Opts(depends_on=[a]))\nc = Thing("c", Opts(depends_on=[b]))'
    stack.world.before["create b"] = fails("b broke")
    failed = stack.up(program)
    assert (failed.result, failed.exit_code) == ("failed", Exit.RESOURCE)
    assert stack.world.effects() == ["create a", "create b"]
    assert stack.names() == ["a"]
    stack.world.before.clear()
    assert stack.up().result == "succeeded"
    assert stack.names() == ["a", "b", "c"]


def test_a_resource_that_is_not_as_asked_is_kept_with_its_errors_and_repaired(stack):
    async def half_made():
        raise InitFailed("a-half", {"size": 1}, ("it never became ready",))

    stack.world.before["create a"] = half_made
    assert stack.up('a = Thing("a", size=1)').exit_code is Exit.RESOURCE
    assert (entry(stack, "a").id, entry(stack, "a").init_errors) == ("a-half", ("it never became ready",))
    stack.world.before.clear()
    assert stack.up().result == "succeeded"
    assert stack.world.effects()[-1] == "update a"
    assert entry(stack, "a").init_errors == ()


def test_bad_inputs_fail_the_preview_with_the_configuration_code(stack):
    stack.world.checks["a"] = (CheckFailure("size", "It is too big."),)
    outcome = stack.preview('a = Thing("a")')
    assert (outcome.result, outcome.exit_code) == ("failed", Exit.CONFIGURATION)


def test_a_plan_that_is_declined_changes_nothing(stack):
    async def no(_):
        return False

    outcome = stack.up(CHAIN.format(size=1), confirm=no)
    assert (outcome.result, outcome.exit_code) == ("cancelled", Exit.CANCELLED)
    assert stack.world.effects() == []


def test_cancelled_once_what_runs_is_finished_and_saved(stack):
    canceller = stack.canceller = Canceller()

    async def press():
        canceller.cancel()
        await asyncio.sleep(0)

    stack.world.before["create a"] = press
    outcome = stack.up(CHAIN.format(size=1))
    assert (outcome.result, outcome.exit_code) == ("cancelled", Exit.CANCELLED)
    assert stack.world.effects() == ["create a"]
    assert stack.names() == ["a"]
    assert stack.deployment().pending_operations == ()


def test_refresh_takes_drift_over_and_drops_what_is_gone(stack):
    stack.up('a = Thing("a", size=1)\nb = Thing("b")')
    stack.world.things["", "a-1"] = {"size": 7, "token": "changed"}
    del stack.world.things["", "b-1"]
    stack.refresh(preview_only=True)
    assert sorted(stack.names()) == ["a", "b"]
    stack.refresh()
    assert stack.names() == ["a"]
    assert entry(stack, "a").outputs["token"] == "changed"

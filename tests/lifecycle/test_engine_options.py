"""Options of operations and of resources, each by what it does to calls and to the state."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.engine_ops import FileStack, plan_lines
from tests.support.engine_options import (
    CHAIN,
    destroy,
    done,
    entry,
    errors,
    failing,
    mark,
    only,
    refused,
    sizes,
)
from tests.support.engine_scripted import Stack, yes
from tickover.engine import operations, surgery
from tickover.engine.integrity import violations
from tickover.engine.targeting import Choice
from tickover.errors import Exit


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


@pytest.fixture
def files(tmp_path):
    return FileStack(tmp_path)


# -- what an operation is limited to ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "changed"),
    [
        (only("a"), "a"),
        (only("a", target_dependents=True), "ab"),
        (only("[bc]"), ""),
        (Choice(targets=("**Thing::*",)), "abc"),
        (Choice(excludes=("**::a",)), "bc"),
        (Choice(excludes=("**::a",), exclude_dependents=True), "c"),
    ],
)
def test_an_up_changes_what_it_is_about_and_nothing_else(stack, choice, changed):
    stack.up(CHAIN.format(1))
    done(stack)
    outcome = stack.up(CHAIN.format(2), choice=choice)
    assert outcome.exit_code is Exit.OK
    assert sorted(done(stack)) == [f"update {name}" for name in changed]
    assert sizes(stack) == {name: 2 if name in changed else 1 for name in "abc"}
    assert stack.up().result == "succeeded" and sizes(stack) == dict.fromkeys("abc", 2)


def test_what_is_not_targeted_is_neither_created_nor_removed(stack):
    stack.up('Thing("a")\nThing("gone")\n')
    done(stack)
    assert stack.up('Thing("a", size=2)\nThing("new")\n', choice=only("a")).exit_code is Exit.OK
    assert done(stack) == ["update a"] and sorted(stack.names()) == ["a", "gone"]


def test_a_targeted_resource_that_needs_a_new_one_left_out_is_refused(stack):
    outcome = stack.up('a = Thing("a")\nThing("b", of=a.token)\n', choice=only("b"))
    assert outcome.exit_code is Exit.CONFIGURATION and stack.world.effects() == []
    assert any("is new and which --target does not name" in text for text in errors(stack))


@pytest.mark.parametrize("run", [Stack.up, Stack.preview, destroy])
def test_a_target_that_nobody_has_is_named(stack, run):
    stack.up(CHAIN.format(1))
    done(stack)
    urn = "urn:pulumi:dev::demo::test:index:Thing::nobody"
    assert run(stack, choice=Choice(targets=(urn,))).exit_code is Exit.CONFIGURATION
    assert any(urn in text for text in errors(stack)) and done(stack) == []


def test_a_destroy_of_targets_takes_dependants_only_where_that_is_said(stack):
    stack.up(CHAIN.format(1))
    done(stack)
    assert destroy(stack, choice=only("a")).exit_code is Exit.CONFIGURATION
    assert done(stack) == [] and sorted(stack.names()) == ["a", "b", "c"]
    assert destroy(stack, choice=only("a", target_dependents=True)).exit_code is Exit.OK
    assert done(stack) == ["delete b", "delete a"] and stack.names() == ["c"]


def test_a_destroy_keeps_what_is_excluded_and_what_that_needs(stack):
    stack.up(CHAIN.format(1))
    done(stack)
    assert destroy(stack, choice=Choice(excludes=("**::b",))).exit_code is Exit.OK
    assert done(stack) == ["delete c"] and stack.names() == ["a", "b"]


def test_a_refresh_looks_at_its_targets_only(files):
    files.up('Thing("a", size=1)\nThing("b", size=1)\n')
    world = files.file_world
    for key in ("a/1", "b/1"):
        world.put(key, {**world.things()[key], "size": 7})
    outcome = files.refresh()
    assert sizes(files) == {"a": 7, "b": 7} and outcome.exit_code is Exit.OK
    for key in ("a/1", "b/1"):
        world.put(key, {**world.things()[key], "size": 9})
    request = files.request(choice=only("b"))
    assert asyncio.run(operations.refresh(request, yes)).exit_code is Exit.OK
    assert sizes(files) == {"a": 7, "b": 9}


# -- replacements --------------------------------------------------------------------------------------


def test_replace_and_taint_replace_an_unchanged_resource_once(stack):
    stack.up(CHAIN.format(1))
    done(stack)
    outcome = stack.up(choice=Choice(replaces=("**::c",)))
    assert "create-replacement c [replace: asked for]" in plan_lines(outcome)
    assert done(stack) == ["create c", "delete c"]
    mark(stack, lambda d: surgery.with_taint(d, [entry(stack, "c").urn], True).deployment)
    assert entry(stack, "c").extra["taint"] is True
    assert stack.up().exit_code is Exit.OK
    assert done(stack) == ["create c", "delete c"] and not entry(stack, "c").extra.get("taint")
    assert not stack.up().plan.has_changes and done(stack) == []


def test_a_replacement_trigger_replaces_when_it_changes(stack):
    program = 'Thing("a", opts=Opts(replacement_trigger={}))\n'
    for trigger, calls in [("1", ["create a"]), ("1", []), ("2", ["create a", "delete a"]), ("None", [])]:
        assert stack.up(program.format(trigger)).exit_code is Exit.OK
        assert done(stack) == calls, trigger


def test_replace_with_follows_the_one_it_names(stack):
    program = 'a = Thing("a", kind={})\nThing("b", opts=Opts(replace_with=[a]))\n'
    stack.up(program.format(1))
    assert entry(stack, "b").extra["replaceWith"] == [entry(stack, "a").urn]
    done(stack)
    stack.up(program.format(2))
    assert sorted(done(stack)) == ["create a", "create b", "delete a", "delete b"]
    assert not stack.preview().plan.has_changes


def test_hide_diff_is_kept_in_the_state(stack):
    stack.up('Thing("a", size=1, opts=Opts(hide_diffs=["size"]))\n')
    resources = json.loads(stack.state_text())["checkpoint"]["latest"]["resources"]
    (raw,) = [r for r in resources if r["type"] == "test:index:Thing"]
    assert raw["hideDiff"] == ["size"]
    assert not stack.preview().plan.has_changes


# -- how an operation runs -----------------------------------------------------------------------------

FAN = """
bad = Thing("bad", size={0})
Thing("after", of=bad.token, size={0})
Thing("free", size={0})
"""


@pytest.mark.parametrize("goes_on", [True, False])
def test_continue_on_error_does_what_does_not_need_the_failed_one(stack, goes_on):
    stack.parallel = 1
    stack.world.before["create bad"] = failing(refused())
    outcome = stack.up(FAN.format(1), continue_on_error=goes_on)
    assert (outcome.result, outcome.exit_code) == ("failed", Exit.RESOURCE)
    if goes_on:
        assert stack.names() == ["free"]
    else:  # the two registrations race: "free" may have been made before "bad" failed, never after
        calls = stack.world.calls
        assert "create free" not in calls[calls.index("create bad") :]
    assert "create after" not in stack.world.calls and violations(stack.deployment()) == ()
    stack.world.before.clear()
    assert stack.up().result == "succeeded" and sorted(stack.names()) == ["after", "bad", "free"]


def test_continue_on_error_keeps_what_was_there_and_still_removes_the_rest(stack):
    stack.up(FAN.format(1) + 'Thing("gone")\n')
    done(stack)
    stack.world.before["update bad"] = failing(refused())
    outcome = stack.up(FAN.format(2), continue_on_error=True)
    assert outcome.exit_code is Exit.RESOURCE
    assert sorted(done(stack)) == ["delete gone", "update bad", "update free"]
    assert sizes(stack) == {"bad": 1, "after": 1, "free": 2}


def test_skip_preview_runs_the_program_once_and_asks_nobody(stack):
    async def never(_):
        raise AssertionError("it asked")

    program = 'from pathlib import Path\nwith Path("runs").open("a") as f:\n    f.write("x")\nThing("a")\n'
    outcome = stack.up(program, confirm=never, skip_preview=True)
    assert outcome.exit_code is Exit.OK and (stack.root / "runs").read_text() == "x"
    assert "create a [new]" in plan_lines(outcome) and stack.names() == ["a"]


HOOKED = """
import pathlib

def said(args):
    with pathlib.Path("said").open("a") as f:
        f.write(f"{args.name} ")

hook = pulumi.ResourceHook("said", said)
Thing("a", opts=Opts(hooks=pulumi.ResourceHookBinding(before_delete=[hook])))
pulumi.export("x", 1)
"""


def test_a_destroy_runs_the_program_for_its_delete_hooks(stack):
    stack.up(HOOKED)
    done(stack)
    assert destroy(stack).exit_code is Exit.CONFIGURATION
    assert done(stack) == [] and any("delete hooks" in text for text in errors(stack))
    assert destroy(stack, run_program=True).exit_code is Exit.OK
    assert done(stack) == ["delete a"] and (stack.root / "said").read_text() == "a "
    assert stack.deployment().resources == ()


def test_more_done_than_planned_is_a_warning(stack):
    stack.up('Thing("b", size=1)\n')
    done(stack)
    outcome = stack.up('Thing("b", size=1 if pulumi.runtime.is_dry_run() else 2)\nThing("c")\n')
    assert outcome.exit_code is Exit.OK and sorted(done(stack)) == ["create c", "update b"]
    what = "was planned as 'same'; now that all is known it was 'update'"
    assert any(what in text for text in outcome.diagnostics)


def test_ctrl_c_ends_a_program_that_idles(stack):
    stack.canceller = canceller = operations.Canceller()

    async def press():
        asyncio.get_running_loop().call_later(0.05, canceller.cancel)

    stack.world.before["create a"] = press
    program = """
    import asyncio

    async def main():
        thing = Thing("a")
        await thing.token.future()
        if not pulumi.runtime.is_dry_run():
            await asyncio.sleep(10**6)

    pulumi.run(main)
    """
    outcome = stack.up(program)
    assert outcome.exit_code is Exit.CANCELLED
    assert stack.names() == ["a"] and stack.deployment().pending_operations == ()

"""Objects that exist already, hooks, transforms, other stacks and saved plans, by what they do."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.engine_ops import FileStack, plan_lines
from tests.support.engine_options import (
    CHAIN,
    done,
    entry,
    errors,
    failing,
    once,
    refused,
    sizes,
)
from tests.support.engine_scripted import Stack, name_of, yes
from tickover.engine import operations
from tickover.engine.events import ProgramOutput
from tickover.engine.importer import Import, Imports
from tickover.engine.integrity import violations
from tickover.engine.pendings import PendingCreations
from tickover.engine.plugins.errors import OutcomeUnknown
from tickover.engine.savedplan import saved_plan
from tickover.errors import Exit


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


@pytest.fixture
def files(tmp_path):
    return FileStack(tmp_path)


# -- objects that exist already ------------------------------------------------------------------------


def test_import_takes_an_object_in_and_protects_it(files):
    files.up('Thing("a", size=1)\n')
    files.file_world.put("found/1", {"size": 5, "token": "t"})
    imports = Imports((Import("test:index:Thing", "b", "found/1"),))
    outcome, taken = asyncio.run(operations.import_(files.request(), imports, yes))
    assert outcome.exit_code is Exit.OK and [name_of(r.urn) for r in taken] == ["b"]
    b = entry(files, "b")
    assert (b.id, b.inputs, b.protect, b.external) == ("found/1", {"size": 5}, True, False)
    again, taken = asyncio.run(operations.import_(files.request(), imports, yes))
    assert again.exit_code is not Exit.OK and taken == ()
    assert files.up('Thing("a", size=1)\nThing("b", size=5)\n').exit_code is Exit.OK


def test_import_of_what_is_not_there_changes_nothing(files):
    files.up('Thing("a", size=1)\n')
    before = files.state_text()
    imports = Imports((Import("test:index:Thing", "b", "nothing/1"),))
    outcome, taken = asyncio.run(operations.import_(files.request(), imports, yes))
    assert outcome.exit_code is Exit.RESOURCE and taken == () and files.state_text() == before


def test_the_import_option_adopts_once_and_then_is_an_ordinary_resource(files):
    files.file_world.put("found/1", {"size": 5, "token": "t"})
    program = 'Thing("b", size={}, opts=Opts(import_="found/1"))\n'
    assert "import b [imported]" in plan_lines(files.up(program.format(5)))
    assert entry(files, "b").id == "found/1" and list(files.file_world.things()) == ["found/1"]
    assert not files.preview().plan.has_changes
    assert files.up(program.format(6)).exit_code is Exit.OK
    assert files.file_world.things()["found/1"]["size"] == 6
    assert not files.preview('Thing("b", size=6)\n').plan.has_changes


GET = """
class Read(pulumi.CustomResource):
    def __init__(self, name, opts=None):
        super().__init__("test:index:Thing", name, {"token": None, "size": None}, opts)

it = Read("it", Opts(id="found/1"))
pulumi.export("size", it.size)
"""


def test_get_reads_and_is_forgotten_without_a_deletion(files):
    files.file_world.put("found/1", {"size": 5, "token": "t"})
    outcome = files.up(GET)
    assert outcome.exit_code is Exit.OK and outcome.outputs["size"] == 5
    assert entry(files, "it").external and not files.preview().plan.has_changes
    assert files.up("").exit_code is Exit.OK
    assert files.names() == [] and list(files.file_world.things()) == ["found/1"]


def test_get_of_what_is_not_there_is_named(files):
    assert files.up(GET).exit_code is Exit.RESOURCE
    assert any("no object with the id 'found/1'" in text for text in errors(files))
    assert files.names() == []


def cut_off(files):
    """A creation with its effect, whose answer never came."""
    original = files.file_world
    original.put("a/1", {"size": 1, "kind": 1, "token": "token of a/1"})

    async def lost():
        raise OutcomeUnknown("outcome-unknown", "Create failed", "The connection was cut.")

    stack = Stack(files.root)
    stack.world.before["create a"] = lost
    assert stack.up('Thing("a", size=1, kind=1)\n').exit_code is not Exit.OK
    (pending,) = files.deployment().pending_operations
    return pending.resource.urn


def test_a_creation_that_was_cut_off_stays_noted_until_it_is_cleared(files):
    cut_off(files)
    assert files.refresh().exit_code is Exit.OK
    assert len(files.deployment().pending_operations) == 1
    request = files.request(pending=PendingCreations(clear=True))
    assert asyncio.run(operations.refresh(request, yes)).exit_code is Exit.OK
    assert files.deployment().pending_operations == () and files.names() == []


@pytest.mark.parametrize(("id_", "found"), [("a/1", True), ("a/2", False)])
def test_a_creation_that_was_cut_off_is_taken_over_by_its_id(files, id_, found):
    urn = cut_off(files)
    request = files.request(pending=PendingCreations(imports={urn: id_}))
    outcome = asyncio.run(operations.refresh(request, yes))
    assert outcome.exit_code is (Exit.OK if found else Exit.RESOURCE)
    assert len(files.deployment().pending_operations) == (0 if found else 1)
    assert files.names() == (["a"] if found else [])
    if found:
        assert not files.up('Thing("a", size=1, kind=1)\n').plan.has_changes


# -- hooks ---------------------------------------------------------------------------------------------

HOOKS = """
import pathlib

def told(kind):
    def hook(args):
        with pathlib.Path("said").open("a") as f:
            f.write(f"{kind} ")
        if kind == FAILS:
            raise RuntimeError("it will not do")
    return pulumi.ResourceHook(kind, hook)

kinds = [f"{when}_{verb}" for verb in ("create", "update", "delete") for when in ("before", "after")]
binding = pulumi.ResourceHookBinding(**{kind: [told(kind)] for kind in kinds})
"""


def said(stack):
    path = stack.root / "said"
    text = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return text


def hooked(fails="", size=1, there=True):
    thing = f'Thing("a", size={size}, opts=Opts(hooks=binding))\n' if there else ""
    return f"FAILS = {fails!r}\n{HOOKS}{thing}"


def test_hooks_run_around_each_step_and_not_in_a_dry_run(stack):
    assert stack.preview(hooked()).exit_code is Exit.OK and said(stack) == []
    for program, kinds in [
        (hooked(), ["before_create", "after_create"]),
        (hooked(), []),
        (hooked(size=2), ["before_update", "after_update"]),
        (hooked(there=False), ["before_delete", "after_delete"]),
    ]:
        assert stack.up(program).exit_code is Exit.OK and said(stack) == kinds
    assert stack.world.effects() == ["create a", "update a", "delete a"]


@pytest.mark.parametrize("verb", ["create", "update", "delete"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failing_hook_stops_its_step_only_if_it_is_one_before(stack, when, verb):
    if verb != "create":
        stack.up(hooked())
        done(stack)
    program = {"create": {}, "update": {"size": 2}, "delete": {"there": False}}[verb]
    outcome = stack.up(hooked(f"{when}_{verb}", **program))
    assert outcome.exit_code is Exit.RESOURCE and any("it will not do" in text for text in errors(stack))
    assert done(stack) == ([] if when == "before" else [f"{verb} a"])
    assert stack.deployment().pending_operations == () and violations(stack.deployment()) == ()
    assert stack.up(hooked(**program)).exit_code is Exit.OK
    assert done(stack) == ([f"{verb} a"] if when == "before" else [])


@pytest.mark.parametrize(("again", "calls"), [(True, 2), (False, 1)])
def test_an_error_hook_may_ask_for_another_try(stack, again, calls):
    program = f"""
    hook = pulumi.ErrorHook("again", lambda args: {again})
    Thing("a", opts=Opts(hooks=pulumi.ResourceHookBinding(on_error=[hook])))
    """
    stack.world.before["create a"] = once(refused())
    outcome = stack.up(program)
    assert (outcome.exit_code is Exit.OK) is again
    assert done(stack) == ["create a"] * calls and stack.names() == (["a"] if again else [])


# -- transforms and what the engine answers itself -----------------------------------------------------


def test_transforms_run_from_the_resource_to_the_stack(stack):
    program = """
    def marks(text):
        def transform(args):
            if args.type_ != "test:index:Thing":
                return None
            props = {**args.props, "marks": [*args.props.get("marks", []), text]}
            return pulumi.ResourceTransformResult(props, args.opts)
        return transform

    pulumi.runtime.register_resource_transform(marks("stack"))
    group = pulumi.ComponentResource(
        "test:index:Group", "g", {}, Opts(transforms=[marks("parent")])
    )
    Thing("a", opts=Opts(parent=group, transforms=[marks("own")]))
    """
    assert stack.up(program).exit_code is Exit.OK
    assert entry(stack, "a").inputs["marks"] == ["own", "parent", "stack"]


def test_an_invoke_transform_changes_the_arguments(stack):
    program = """
    def redirect(args):
        return pulumi.InvokeTransformResult({**args.args, "to": "there"}, args.opts)

    pulumi.runtime.register_invoke_transform(redirect)
    found = pulumi.runtime.invoke_output("test:index:look", {"for": "it"})
    pulumi.export("found", found)
    """
    outcome = stack.up(program)
    assert outcome.exit_code is Exit.OK and outcome.outputs["found"] == {"for": "it", "to": "there"}


REFERS = 'pulumi.export("y", pulumi.StackReference("organization/demo/{}").get_output("x"))\n'


def test_a_stack_reference_reads_the_saved_outputs_of_a_stack(stack):
    stack.up('pulumi.export("x", 5)\n')
    outcome = stack.up(REFERS.format("dev") + 'pulumi.export("x", 6)\n')
    assert outcome.exit_code is Exit.OK and outcome.outputs == {"x": 6, "y": 5}


# The SDK leaves coroutines of an output behind that nobody can await any more.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_reference_to_a_stack_that_is_not_there_is_named(stack):
    assert stack.up(REFERS.format("nowhere")).exit_code is not Exit.OK
    assert any("nowhere" in text for text in errors(stack))


def test_a_stash_keeps_its_first_value_and_get_resource_finds_it(stack):
    program = """
    kept = pulumi.Stash("kept", input={})
    found = pulumi.runtime.invoke_output("pulumi:pulumi:getResource", {{"urn": kept.urn}})
    pulumi.export("first", kept.output)
    pulumi.export("found", found["state"]["output"])
    """
    assert stack.up(program.format(1)).outputs == {"first": 1, "found": 1}
    assert stack.up(program.format(2)).outputs == {"first": 1, "found": 1}
    assert entry(stack, "kept").inputs == {"input": 2}


# -- saved plans ---------------------------------------------------------------------------------------


def plan_for(stack, program):
    outcome = stack.preview(program)
    assert outcome.exit_code is Exit.OK and outcome.binding is not None
    return saved_plan(outcome.plan, outcome.goals, outcome.binding, created="2026-01-01T00:00:00Z")


def test_a_saved_plan_is_done_exactly(stack):
    stack.up(CHAIN.format(1))
    plan = plan_for(stack, CHAIN.format(2))
    done(stack)
    assert stack.up(saved_plan=plan).exit_code is Exit.OK
    assert sorted(done(stack)) == ["update a", "update b", "update c"]


def test_a_saved_plan_is_refused_once_the_state_or_the_program_moved(stack):
    stack.up(CHAIN.format(1))
    plan = plan_for(stack, CHAIN.format(2))
    done(stack)
    assert stack.up(CHAIN.format(3), saved_plan=plan).exit_code is not Exit.OK
    assert done(stack) == [] and any("Plan is out of date" in text for text in errors(stack))
    stack.up(CHAIN.format(4))
    done(stack)
    assert stack.up(CHAIN.format(2), saved_plan=plan).exit_code is not Exit.OK
    assert done(stack) == [] and sizes(stack) == dict.fromkeys("abc", 4)


@pytest.mark.parametrize("skip_preview", [False, True])
def test_what_departs_from_a_saved_plan_is_not_done(stack, skip_preview):
    (stack.root / "size").write_text("2")
    program = "import pathlib\nsize = int(pathlib.Path('size').read_text())\nThing('a', size=size)\n"
    stack.up("Thing('a', size=1)\n")
    plan = plan_for(stack, program)
    done(stack)
    (stack.root / "size").write_text("3")
    outcome = stack.up(saved_plan=plan, skip_preview=skip_preview)
    assert outcome.exit_code is not Exit.OK and done(stack) == [] and sizes(stack) == {"a": 1}


# -- providers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing_call", ["create a", "delete a"])
def test_a_provider_replaced_by_a_run_that_failed_still_moves_what_it_made(stack, failing_call):
    first = failing_call.startswith("delete")
    program = 'p = Provider("p", region="{}")\nThing("a", opts=Opts(provider=p, delete_before_replace={}))\n'
    stack.up(program.format("here", first))
    stack.world.before[failing_call] = failing(refused())
    assert stack.up(program.format("there", first)).exit_code is Exit.RESOURCE
    assert list(stack.world.things) == [("here", "a-1")]
    stack.world.before.clear()
    done(stack)
    assert stack.up().exit_code is Exit.OK
    assert sorted(done(stack)) == ["create a", "delete a"]
    assert [region for region, _ in stack.world.things] == ["there"]


def test_a_refresh_that_runs_the_program_takes_the_providers_configuration_from_it(stack):
    program = 'own = Provider("own", key="{0}")\nThing("a", size={1}, opts=Opts(provider=own))\n'
    stack.up(program.format("old", 1))
    stack.write(program.format("new", 2) + 'Thing("b")\n')
    stack.world.calls.clear()
    asyncio.run(operations.refresh(stack.request(), yes))
    assert entry(stack, "own").inputs["key"] == "old"
    stack.world.configured.clear()
    outcome = asyncio.run(operations.refresh(stack.request(run_program=True), yes))
    assert outcome.exit_code is Exit.OK
    assert {c["key"] for c in stack.world.configured if "key" in c} == {"new"}
    assert entry(stack, "own").inputs["key"] == entry(stack, "own").outputs["key"] == "new"
    assert stack.world.effects() == [] and (stack.names(), sizes(stack)["a"]) == (["a"], 1)


def test_a_stack_that_is_not_there_is_told_once_and_nothing_else(stack):
    program = (
        'base = pulumi.StackReference("organization/demo/none")\npulumi.export("x", base.get_output("x"))'
    )
    outcome = stack.up(program)
    (told,) = errors(stack)
    assert outcome.exit_code is not Exit.OK and "no stack 'none'" in told
    assert [e.line for e in stack.events if isinstance(e, ProgramOutput)] == []

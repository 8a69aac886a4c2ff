"""What a change of a program makes of a stack: plans, calls, events and what is remembered."""

from __future__ import annotations

import pytest

from tests.support.engine_ops import plan_lines, step_events
from tests.support.engine_scripted import Stack, name_of
from tickover.engine.integrity import violations
from tickover.engine.urn import parse_urn
from tickover.errors import Exit


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


def entry(stack, name):
    (found,) = [r for r in stack.deployment().resources if name_of(r.urn) == name]
    return found


def no_effects(stack, outcome):
    """Succeeded, without a call that has an effect since the last look."""
    calls = stack.world.effects()
    stack.world.calls.clear()
    return outcome.exit_code is Exit.OK and not calls


def test_plan_calls_events_and_state_of_a_chain(stack):
    outcome = stack.up('a = Thing("a", size=1)\nb = Thing("b", of=a.token, size=2)\n')
    assert plan_lines(outcome) == [
        "create demo-dev [new]",
        "create default [new]",
        "create a [new]",
        "create b [new]",
    ]
    assert step_events(stack) == [
        "started create a",
        "finished create a",
        "started create b",
        "finished create b",
    ]
    a, b = entry(stack, "a"), entry(stack, "b")
    assert b.dependencies == (a.urn,)
    assert {k: v for k, v in b.property_dependencies.items() if v} == {"of": (a.urn,)}
    assert b.provider.rpartition("::")[0] == entry(stack, "default").urn


def test_depends_on_orders_without_a_property(stack):
    stack.up('a = Thing("a")\nThing("b", opts=Opts(depends_on=[a]))\n')
    assert stack.world.effects() == ["create a", "create b"]
    b = entry(stack, "b")
    assert b.dependencies == (entry(stack, "a").urn,)
    stack.up("")
    assert stack.world.effects()[2:] == ["delete b", "delete a"]


def test_an_unchanged_program_runs_once_and_calls_nothing_with_an_effect(stack):
    program = 'from pathlib import Path\nwith Path("runs").open("a") as f:\n    f.write("x")\nThing("a")\n'
    stack.up(program)
    runs = len((stack.root / "runs").read_text())
    state = stack.state_text()
    stack.world.calls.clear()
    outcome = stack.up()
    assert (outcome.result, outcome.plan.has_changes) == ("succeeded", False)
    assert len((stack.root / "runs").read_text()) == runs + 1
    assert stack.world.effects() == [] and stack.state_text() == state


def test_a_preview_writes_nothing_at_all(stack):
    stack.write('Thing("a")')
    before = sorted(p.name for p in stack.root.rglob("*"))
    assert stack.preview().exit_code is Exit.OK
    after = sorted(p.name for p in stack.root.rglob("*"))
    assert set(after) - set(before) <= {"Pulumi.dev.yaml"} and stack.world.effects() == []


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [(1, 1, False), (1, 2, True), ("a", None, True), ([1], [1], False), ({"k": 1}, {"k": 2}, True)],
)
def test_a_change_of_outputs_alone_is_a_change(stack, before, after, changes):
    stack.up(f'pulumi.export("v", {before!r})')
    outcome = stack.up(f'pulumi.export("v", {after!r})' if after is not None else "")
    assert outcome.plan.has_changes is changes
    assert stack.preview().plan.has_changes is False


def test_an_exported_resource_is_no_change_in_the_next_preview(stack):
    stack.up('pulumi.export("thing", Thing("a", size=1))')
    assert stack.preview().plan.has_changes is False


def test_a_component_holds_its_children_and_outputs(stack):
    program = """
    class Pair(pulumi.ComponentResource):
        def __init__(self, name):
            super().__init__("test:index:Pair", name)
            self.one = Thing(f"{name}-one", opts=Opts(parent=self))
            self.register_outputs({"token": self.one.token, "fixed": FIXED})

    Pair("p")
    """
    stack.up("FIXED = 1\n" + program.replace("\n    ", "\n"))
    pair, one = entry(stack, "p"), entry(stack, "p-one")
    assert one.parent == pair.urn and parse_urn(one.urn).parent_types == ("test:index:Pair",)
    assert (pair.custom, pair.id, pair.outputs["token"]) == (False, "", one.outputs["token"])
    stack.world.calls.clear()
    assert no_effects(stack, stack.up("FIXED = 2\n" + program.replace("\n    ", "\n")))
    assert entry(stack, "p").outputs["fixed"] == 2


def test_a_component_that_becomes_a_thing_and_back_is_replaced(stack):
    stack.up('Group("a")')
    as_thing = 'class Two(pulumi.CustomResource):\n    pass\nTwo("test:index:Group", "a", {})\n'
    outcome = stack.up(as_thing)
    assert outcome.result == "succeeded" and stack.world.effects() == ["create a"]
    assert stack.up('Group("a")').result == "succeeded"
    assert stack.world.effects() == ["create a", "delete a"]
    assert [r.custom for r in stack.deployment().resources if name_of(r.urn) == "a"] == [False]


def test_replace_on_changes_replaces_where_an_update_would_do(stack):
    program = 'Thing("a", size={}, opts=Opts(replace_on_changes=["size"]))'
    stack.up(program.format(1))
    assert "create-replacement a [replace: size]" in plan_lines(stack.up(program.format(2)))
    assert stack.world.effects() == ["create a", "create a", "delete a"]


def test_the_program_may_overrule_a_provider_that_deletes_first(stack):
    stack.world.delete_first = True
    program = 'Thing("a", kind={}, opts=Opts(delete_before_replace={}))'
    stack.up(program.format(1, False))
    stack.up(program.format(2, False))
    assert stack.world.effects() == ["create a", "create a", "delete a"]


def test_a_cascade_replaces_dependants_first_and_is_one_plan(stack):
    program = """
    a = Thing("a", kind={0}, opts=Opts(delete_before_replace=True))
    b = Thing("b", kind=a.token)
    c = Thing("c", size=b.token)
    """
    stack.up(program.format(1))
    outcome = stack.up(program.format(2))
    assert stack.world.effects()[3:] == ["delete b", "delete a", "create a", "create b", "update c"]
    assert outcome.plan.counts == {"same": 1, "replace": 2, "update": 1}
    assert violations(stack.deployment()) == () and len(stack.world.things) == 3


def test_a_dependant_that_no_longer_depends_is_left_alone_by_a_cascade(stack):
    stack.up('a = Thing("a", kind=1, opts=Opts(delete_before_replace=True))\nThing("b", kind=a.token)\n')
    b = entry(stack, "b")
    stack.up(
        f'b = Thing("b", kind="{b.inputs["kind"]}")\n'
        'Thing("a", kind=2, opts=Opts(delete_before_replace=True, depends_on=[b]))\n'
    )
    assert stack.world.effects()[2:] == ["delete a", "create a"]
    assert entry(stack, "b").id == b.id


def test_a_dependant_that_goes_with_a_cascade_is_deleted_once(stack):
    stack.up('a = Thing("a", kind=1, opts=Opts(delete_before_replace=True))\nThing("b", kind=a.token)\n')
    stack.up('Thing("a", kind=2, opts=Opts(delete_before_replace=True))\n')
    assert stack.world.effects()[2:] == ["delete b", "delete a", "create a"]
    assert stack.names() == ["a"]


def test_a_protected_dependant_stops_a_cascade_before_anything_goes(stack):
    program = """
    a = Thing("a", kind={}, opts=Opts(delete_before_replace=True))
    Thing("b", kind=a.token, opts=Opts(protect=True))
    """
    stack.up(program.format(1))
    outcome = stack.up(program.format(2))
    assert outcome.result == "failed" and stack.world.effects() == ["create a", "create b"]
    assert any("protected" in d for d in outcome.diagnostics)


@pytest.mark.parametrize(
    "second", ['Thing("a", kind=2, opts=Opts(protect=True))', ""], ids=["replaced", "removed"]
)
def test_a_protected_resource_is_neither_replaced_nor_removed(stack, second):
    stack.up('Thing("a", kind=1, opts=Opts(protect=True))')
    outcome = stack.up(second)
    assert outcome.exit_code is Exit.RESOURCE and stack.world.effects() == ["create a"]
    assert stack.up('Thing("a", kind=1)').exit_code is Exit.OK
    assert entry(stack, "a").protect is False  # taken over although nothing was called


def test_what_dies_with_another_is_forgotten_and_not_called(stack):
    stack.up('a = Thing("a")\nThing("b", opts=Opts(deleted_with=a))\n')
    stack.world.calls.clear()
    stack.destroy()
    assert stack.world.effects() == ["delete a"] and stack.deployment().resources == ()


def test_a_known_value_that_is_equal_after_all_replaces_nothing(stack):
    program = """
    a = Thing("a", size={})
    Thing("b", kind=a.size.apply(lambda s: s > 0))
    """
    stack.up(program.format(1))
    b = entry(stack, "b")
    outcome = stack.up(program.format(2))
    assert "update a [changed: size]" in plan_lines(outcome)
    assert stack.world.effects()[2:] == ["update a"]
    assert entry(stack, "b").id == b.id and len(stack.world.things) == 2


# -- names ----------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('Thing("a", size=1)', 'Thing("b", size=1, opts=Opts(aliases=[pulumi.Alias(name="a")]))'),
        (
            "class Old(pulumi.CustomResource):\n    pass\n"
            'Old("test:index:Old", "a", {"token": None, "size": 1})',
            'Thing("a", size=1, opts=Opts(aliases=[pulumi.Alias(type_="test:index:Old")]))',
        ),
        (
            'Thing("a", size=1, opts=Opts(parent=Group("g")))',
            'Thing("a", size=1, opts=Opts(aliases=[pulumi.Alias(parent=Group("g"))]))',
        ),
        (
            'g = Group("g")\nThing("g-a", size=1, opts=Opts(parent=g))',
            'g = Group("h", opts=Opts(aliases=[pulumi.Alias(name="g")]))\n'
            'Thing("h-a", size=1, opts=Opts(parent=g))',
        ),
        (
            'p = Provider("p")\na = Thing("a", opts=Opts(provider=p))\n'
            'Thing("b", of=a.token, opts=Opts(provider=p))',
            'p = Provider("q", opts=Opts(aliases=[pulumi.Alias(name="p")]))\n'
            'a = Thing("a", opts=Opts(provider=p))\nThing("b", of=a.token, opts=Opts(provider=p))',
        ),
    ],
    ids=["name", "type", "parent", "parent-renamed", "provider-renamed"],
)
def test_an_alias_moves_the_state_without_a_call(stack, first, second):
    stack.up(first)
    ids = sorted(r.id for r in stack.deployment().resources if r.id)
    stack.world.calls.clear()
    assert no_effects(stack, stack.up(second))
    assert sorted(r.id for r in stack.deployment().resources if r.id) == ids
    assert violations(stack.deployment()) == ()
    assert stack.preview().plan.has_changes is False


def test_a_rename_that_is_cut_short_by_a_failure_leaves_a_sound_state(stack):
    thing = 'Thing("{n}", size={s}, opts=Opts(provider=p))\n'
    stack.up('p = Provider("p")\n' + thing.format(n="a", s=1) + thing.format(n="b", s=1))

    async def fail():
        raise RuntimeError("no")

    stack.world.before["update a"] = fail
    program = 'p = Provider("q", opts=Opts(aliases=[pulumi.Alias(name="p")]))\n' + thing.format(n="a", s=2)
    outcome = stack.up(program + 'raise ValueError("stopped here")')
    assert outcome.result == "failed" and violations(stack.deployment()) == ()
    stack.world.before.clear()
    assert stack.up(program + thing.format(n="b", s=1)).result == "succeeded"
    assert stack.world.effects()[-1] == "update a" and len(stack.world.things) == 2


def test_two_resources_cannot_have_one_past(stack):
    stack.up('Thing("a")')
    outcome = stack.up('Thing("b", opts=Opts(aliases=["%s"]))\nThing("c", opts=Opts(aliases=["%s"]))'
                       % ((entry(stack, "a").urn,) * 2))  # fmt: skip
    assert outcome.exit_code is Exit.CONFIGURATION and stack.world.effects() == ["create a"]


# -- providers ----------


def test_providers_explicit_inherited_and_default(stack):
    stack.config["test:region"] = "home"
    stack.up(
        """
        p = Provider("p", region="away")
        Thing("explicit", opts=Opts(provider=p))
        g = Group("g", opts=Opts(providers=[p]))
        Thing("inherited", opts=Opts(parent=g))
        Thing("default")
        """
    )
    assert sorted(region for region, _ in stack.world.things) == ["away", "away", "home"]
    p = next(r for r in stack.deployment().resources if name_of(r.urn) == "p")
    by_name = {name_of(r.urn): r.provider for r in stack.deployment().resources if r.provider}
    assert by_name["explicit"] == by_name["inherited"] == f"{p.urn}::{p.id}"
    assert "::default::" in by_name["default"]


def test_a_provider_that_moves_away_replaces_what_it_made_where_it_was(stack):
    program = 'p = Provider("p", region="{}")\nThing("a", opts=Opts(provider=p))\n'
    stack.up(program.format("one"))
    outcome = stack.up(program.format("two"))
    assert "create-replacement a [replace: provider]" in plan_lines(outcome)
    assert outcome.result == "succeeded"
    assert [region for region, _ in stack.world.things] == ["two"]  # and the old one went in "one"
    assert violations(stack.deployment()) == () and len(stack.names()) == 1


def test_another_provider_of_the_same_configuration_is_only_remembered(stack):
    stack.up('Thing("a")')
    program = 'p = Provider("p", region="{}")\nThing("a", opts=Opts(provider=p))\n'
    stack.world.calls.clear()
    assert stack.up(program.format("")).result == "succeeded"
    assert stack.world.effects() in ([], ["create a", "delete a"])
    assert stack.up(program.format("far")).result == "succeeded"
    assert [region for region, _ in stack.world.things] == ["far"]


def test_an_unknown_package_names_those_that_there_are(stack):
    outcome = stack.preview('pulumi.CustomResource("nope:index:X", "x")')
    assert outcome.exit_code is Exit.CONFIGURATION
    assert any("nope" in d and "test" in d for d in outcome.diagnostics)

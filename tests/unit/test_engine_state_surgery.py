"""Edits of a state by hand: what they make of it, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.engine_state import PROVIDER_URN, ROOT, base, deployment, thing, urn
from tickover.engine.dot import GraphStyle, dot
from tickover.engine.integrity import violations
from tickover.engine.mending import mended
from tickover.engine.relocation import Place, moved, restacked
from tickover.engine.state import Deployment, PendingOperation, PendingType, ResourceState
from tickover.engine.stateio import features_of
from tickover.engine.surgery import (
    with_name,
    with_protection,
    with_taint,
    without,
    without_all,
)
from tickover.engine.urn import make_urn
from tickover.engine.values import ResourceReference, Secret
from tickover.errors import TickoverError

COMP = make_urn("dev", "demo", ROOT, "my:c:Comp", "comp")
OTHER = Place("demo", "other")


def component() -> ResourceState:
    return ResourceState(urn=COMP, type="my:c:Comp", custom=False, parent=ROOT)


def child(name: str, **fields: object) -> ResourceState:
    made = thing(name, **({"parent": COMP} | fields))
    return replace(made, urn=make_urn("dev", "demo", COMP, made.type, name))


def sample() -> Deployment:
    return deployment(
        thing("a"),
        thing("b", dependencies=(urn("a"),), property_dependencies={"p": (urn("a"),), "q": ()}),
        component(),
        child("c", deleted_with=urn("b")),
        thing("d", protect=True),
    )


def urns(state: Deployment) -> list[str]:
    return [r.urn for r in state.resources]


def refusal(call, *args, **named) -> TickoverError:
    with pytest.raises(TickoverError) as caught:
        call(*args, **named)
    return caught.value


# --- forgetting ------------------------------------------------------------------------------------------


def test_what_nothing_needs_is_forgotten():
    removal = without(sample(), [child("c").urn])
    assert removal.removed == (child("c").urn,)
    assert urns(removal.deployment) == [*urns(deployment()), urn("a"), urn("b"), COMP, urn("d")]


def test_a_refusal_names_all_that_needs_it():
    error = refusal(without, sample(), [urn("a")])
    assert error.code == "has-dependents"
    assert urn("b") in error.detail
    assert child("c").urn in error.detail
    assert urn("d") not in error.detail


def test_dependents_that_are_named_too_are_no_reason_to_refuse():
    removal = without(sample(), [urn("a"), urn("b"), child("c").urn])
    assert removal.removed == (child("c").urn, urn("b"), urn("a"))


def test_with_dependents_everything_that_needs_it_goes():
    removal = without(sample(), [urn("a")], with_dependents=True)
    assert removal.removed == (child("c").urn, urn("b"), urn("a"))
    assert violations(removal.deployment) == ()


def test_a_component_is_needed_by_its_children_and_a_provider_by_its_resources():
    assert child("c").urn in refusal(without, sample(), [COMP]).detail
    assert urn("d") in refusal(without, sample(), [PROVIDER_URN]).detail


def test_protected_ones_need_force():
    assert refusal(without, sample(), [urn("d")]).code == "protected"
    removal = without(sample(), [urn("d")], force=True)
    assert removal.unprotected == (urn("d"),)


def test_a_protected_dependent_needs_force_too():
    state = deployment(thing("a"), thing("b", dependencies=(urn("a"),), protect=True))
    assert refusal(without, state, [urn("a")], with_dependents=True).code == "protected"


def test_all_go_but_not_a_protected_one():
    assert refusal(without_all, sample()).code == "protected"
    assert without_all(sample(), force=True).deployment.resources == ()


def test_the_half_that_waits_for_deletion_does_not_need_the_live_one():
    """After a replacement the URN is there twice; what refers to it refers to the first of them."""
    state = deployment(
        thing("a", id="2"), thing("b", dependencies=(urn("a"),)), thing("a", id="1", delete=True)
    )
    assert refusal(without, state, [urn("a")]).code == "ambiguous-resource"
    assert without(state, [urn("b")]).removed == (urn("b"),)


def test_an_unknown_urn_gets_a_suggestion():
    error = refusal(without, sample(), [urn("aa")])
    assert error.code == "no-resource"
    assert urn("a") in error.detail
    assert refusal(without, sample(), ["a"]).code == "bad-urn"


# --- renaming --------------------------------------------------------------------------------------------


def test_a_new_name_is_everywhere():
    state = with_name(sample(), urn("a"), "new")
    b = next(r for r in state.resources if r.urn == urn("b"))
    assert b.dependencies == (urn("new"),)
    assert dict(b.property_dependencies) == {"p": (urn("new"),), "q": ()}
    assert urn("a") not in urns(state)
    assert violations(state) == ()


def test_a_renamed_provider_is_still_the_provider():
    state = with_name(sample(), PROVIDER_URN, "named")
    assert violations(state) == ()
    assert {r.provider.rpartition("::")[0] for r in state.resources if r.provider} == {
        PROVIDER_URN.removesuffix("default") + "named"
    }


def test_pending_operations_are_renamed_too():
    pending = PendingOperation(thing("a"), PendingType.UPDATING)
    state = with_name(replace(sample(), pending_operations=(pending,)), urn("a"), "new")
    assert state.pending_operations[0].resource.urn == urn("new")


@pytest.mark.parametrize(
    ("target", "name", "code"),
    [(urn("a"), "b", "name-taken"), (urn("x"), "y", "no-resource"), (urn("a"), "", "bad-name")],
)
def test_names_that_cannot_be(target, name, code):
    assert refusal(with_name, sample(), target, name).code == code


# --- marks -----------------------------------------------------------------------------------------------


def test_protection_is_set_and_lifted():
    state = with_protection(sample(), [urn("a")], True)
    assert state.changed == (urn("a"),)
    lifted = with_protection(state.deployment, None, False)
    assert lifted.changed == (urn("a"), urn("d"))
    assert not any(r.protect for r in lifted.deployment.resources)


def test_taint_is_a_feature_of_the_file_and_goes_without_a_trace():
    marking = with_taint(sample(), [urn("a")], True)
    assert features_of(marking.deployment) == ["taint"]
    assert with_taint(marking.deployment, None, False).deployment == sample()


def test_what_waits_for_deletion_is_not_marked():
    state = deployment(thing("a", id="2"), thing("a", id="1", delete=True))
    made = with_taint(state, [urn("a")], True).deployment
    assert [bool(r.extra.get("taint")) for r in made.resources[-2:]] == [True, False]


def test_one_unknown_urn_marks_nothing():
    assert refusal(with_taint, sample(), [urn("a"), urn("x")], True).code == "no-resource"


# --- repair ----------------------------------------------------------------------------------------------


def test_a_sound_state_is_left_alone():
    result = mended(sample())
    assert result.broken == ()
    assert result.deployment is not None
    assert result.deployment == sample()


def test_the_order_is_put_right():
    state = Deployment((*base(), thing("b", dependencies=(urn("a"),)), thing("a")))
    result = mended(state)
    assert result.moved == (urn("a"),)
    assert urns(result.deployment)[-2:] == [urn("a"), urn("b")]


def test_references_to_what_is_not_there_are_dropped_and_told():
    state = Deployment(tuple(r for r in sample().resources if r.urn != urn("a")))
    result = mended(state)
    assert {(kind, target) for _, kind, target in result.dropped} == {
        ("dependency", urn("a")),
        ("dependency by `p`", urn("a")),
    }
    b = next(r for r in result.deployment.resources if r.urn == urn("b"))
    assert dict(b.property_dependencies) == {"q": ()}


def test_without_its_parent_a_resource_and_all_below_get_other_names():
    grandchild = replace(
        thing("g", parent=child("c").urn), urn=make_urn("dev", "demo", child("c").urn, thing("g").type, "g")
    )
    state = Deployment((*base(), child("c"), grandchild, thing("x", dependencies=(grandchild.urn,))))
    result = mended(state)
    c, g, x = result.deployment.resources[-3:]
    assert (c.urn, c.parent) == (urn("c"), "")
    assert (g.urn, g.parent) == (make_urn("dev", "demo", urn("c"), g.type, "g"), urn("c"))
    assert x.dependencies == (g.urn,)


@pytest.mark.parametrize(
    "resources",
    [
        (*base()[:1], thing("a")),  # no provider
        (*base(), thing("a"), thing("a")),  # twice
        (*base(), thing("a", dependencies=(urn("b"),)), thing("b", dependencies=(urn("a"),))),  # a circle
    ],
)
def test_what_cannot_be_repaired_is_named(resources):
    error = refusal(mended, Deployment(resources))
    assert error.code == "beyond-repair"
    assert urn("a") in error.detail


@given(order=st.permutations(range(5)), lost=st.sets(st.integers(0, 4), max_size=3))
def test_whatever_is_lost_or_shuffled_becomes_sound(order, lost):
    five = sample().resources[2:]
    kept = [five[i] for i in order if i not in lost]
    assert violations(mended(Deployment((*base(), *kept))).deployment) == ()


# --- move ------------------------------------------------------------------------------------------------


def test_a_move_takes_the_children_and_copies_the_provider():
    plan = moved(sample(), Deployment(), OTHER, [COMP])
    assert list(plan.moved) == [COMP, child("c").urn]
    assert list(plan.providers) == [PROVIDER_URN]
    assert violations(plan.source) == ()
    assert violations(plan.destination) == ()
    assert all("urn:pulumi:other::demo::" in r.urn for r in plan.destination.resources)
    assert next(r for r in plan.destination.resources if r.urn.endswith("::c")).id == "id-c"


def test_references_across_the_two_stacks_are_cut_and_told():
    plan = moved(sample(), Deployment(), OTHER, [urn("a")])
    assert {(b.urn, b.kind) for b in plan.cut_in_source} == {
        (urn("b"), "dependency"),
        (urn("b"), "dependency by `p`"),
    }
    back = moved(sample(), Deployment(), OTHER, [urn("b")])
    assert {b.target for b in back.cut_in_destination} == {urn("a")}
    assert {b.urn for b in back.cut_in_source} == {child("c").urn}


def test_without_its_component_a_child_hangs_on_the_stack():
    plan = moved(sample(), Deployment(), OTHER, [child("c").urn])
    assert list(plan.moved.values()) == [urn("c").replace(":dev:", ":other:")]
    whole = moved(sample(), Deployment(), OTHER, [child("c").urn], include_parents=True)
    assert list(whole.moved) == [COMP, child("c").urn]


def test_the_provider_that_is_there_already_is_used():
    first = moved(sample(), Deployment(), OTHER, [urn("d")])
    second = moved(first.source, first.destination, OTHER, [urn("b")])
    assert second.providers == {}
    assert violations(second.destination) == ()


def test_a_provider_with_other_inputs_is_in_the_way():
    first = moved(sample(), Deployment(), OTHER, [urn("d")]).destination
    changed = tuple(
        replace(r, id="another", inputs={"region": "x"}) if "providers" in r.type else replace(r, provider="")
        for r in first.resources
    )
    assert refusal(moved, sample(), Deployment(changed), OTHER, [urn("b")]).code == "provider-exists"


@pytest.mark.parametrize(
    ("target", "code"), [(PROVIDER_URN, "moves-provider"), (urn("x"), "no-resource"), ("x", "bad-urn")]
)
def test_what_cannot_be_moved(target, code):
    assert refusal(moved, sample(), Deployment(), OTHER, [target]).code == code


def test_nothing_is_overwritten_at_the_destination():
    there = moved(sample(), Deployment(), OTHER, [urn("d")]).destination
    assert refusal(moved, sample(), there, OTHER, [urn("d")]).code == "resource-exists"


# --- a stack's name --------------------------------------------------------------------------------------


def test_a_renamed_stack_has_its_new_name_in_every_urn():
    values = {"ref": ResourceReference(urn("a"), "id-a"), "s": Secret([{"r": ResourceReference(urn("a"))}])}
    alias = "urn:pulumi:dev::demo::test:index:Thing::was"
    foreign = "urn:pulumi:dev2::demo::test:index:Thing::was"
    state = replace(
        sample(),
        resources=(*sample().resources, thing("v", outputs=values, aliases=(alias, foreign))),
        pending_operations=(PendingOperation(thing("p"), PendingType.CREATING),),
    )
    made = restacked(state, Place("demo", "dev"), Place("demo", "prod"))
    assert violations(made) == ()
    assert made.resources[0].urn == "urn:pulumi:prod::demo::pulumi:pulumi:Stack::demo-prod"
    assert "urn:pulumi:dev::" not in repr(made)
    last = made.resources[-1]
    assert last.aliases == (alias.replace(":dev:", ":prod:"), foreign)
    assert last.outputs["s"].value[0]["r"].urn == urn("a").replace(":dev:", ":prod:")
    assert restacked(made, Place("demo", "prod"), Place("demo", "dev")) == state


# --- graph -----------------------------------------------------------------------------------------------


def test_the_graph_has_every_resource_and_both_kinds_of_edge():
    text = dot(sample(), GraphStyle())
    assert text.count("[label=") == len(sample().resources)
    assert 'label = "p"' in text
    plain = dot(
        sample(), GraphStyle(parents=False, dependencies=False, short_names=True, fragment="rankdir=LR")
    )
    assert "->" not in plain
    assert '[label="a"]' in plain
    assert "rankdir=LR" in plain

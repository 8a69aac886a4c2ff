"""The rules of a sound state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.engine_state import KIND, PROVIDER, ROOT, base, deployment, thing, urn
from tickover.engine.integrity import verify, violations
from tickover.engine.snapshot import in_valid_order
from tickover.engine.state import Deployment, ResourceState
from tickover.errors import TickoverError

A, B = urn("a"), urn("b")
LATER = "comes after it"
GONE = "does not exist"


def test_a_sound_state_has_no_violations():
    state = deployment(
        thing("a"),
        thing("b", dependencies=(A,), property_dependencies={"p": (A,)}, deleted_with=A),
        thing("a", id="old", delete=True),
        ResourceState(urn=urn("component"), type=KIND, custom=False, parent=B),
    )
    assert violations(state) == ()


BROKEN = {
    "no urn": (replace(thing("a"), urn=""), "no URN"),
    "no valid urn": (replace(thing("a"), urn="urn:x"), "no valid URN"),
    "no type": (replace(thing("a"), type=""), "no type"),
    "component with id": (replace(thing("a"), custom=False), "has an id"),
    "provider not parsed": (thing("a", provider="here"), "not the URN and id"),
    "provider unknown": (thing("a", provider=PROVIDER + "x"), "does not exist before it"),
    "missing parent": (thing("a", parent=urn("x")), f"parent {urn('x')} {GONE}"),
    "missing dependency": (thing("a", dependencies=(urn("x"),)), f"dependency {urn('x')} {GONE}"),
    "missing by property": (thing("a", property_dependencies={"p": (urn("x"),)}), "dependency by `p`"),
    "missing deletedWith": (thing("a", deleted_with=urn("x")), f"deletedWith {urn('x')} {GONE}"),
    "missing replaceWith": (thing("a", extra={"replaceWith": [urn("x")]}), f"replaceWith {urn('x')} {GONE}"),
    "itself": (thing("a", dependencies=(A,)), f"dependency {A} {GONE}"),
    "later parent": (thing("a", parent=B), f"parent {B} {LATER}"),
    "later dependency": (thing("a", dependencies=(B,)), f"dependency {B} {LATER}"),
    "later deletedWith": (thing("a", deleted_with=B), f"deletedWith {B} {LATER}"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_is_named(name):
    resource, words = BROKEN[name]
    found = violations(deployment(resource, thing("b")))
    assert len(found) == 1
    assert words in str(found[0])


def test_a_pending_replacement_may_have_lost_its_provider():
    state = Deployment((base()[0], replace(thing("a"), provider=PROVIDER, pending_replacement=True)))
    assert violations(state) == ()


def test_only_one_live_resource_a_urn():
    found = violations(deployment(thing("a"), thing("a", id="2"), thing("a", id="3", delete=True)))
    assert [str(v) for v in found] == [f"{A}: it exists 2 times without being marked for deletion"]


def test_verify_lists_ten_and_counts_the_rest():
    many = [thing(f"r{i}", parent=urn("x")) for i in range(12)]
    with pytest.raises(TickoverError) as caught:
        verify(deployment(*many), "the test")
    assert caught.value.detail.count(GONE) == 10
    assert caught.value.detail.endswith("and 2 more")


def test_order_is_repaired_and_otherwise_kept():
    tangled = (
        thing("c", dependencies=(A,)),
        thing("b", parent=urn("c")),
        *base()[::-1],
        thing("z"),
        thing("a", dependencies=(urn("nowhere"),)),
    )
    ordered = in_valid_order(tangled)
    assert violations(Deployment(ordered)) == ()
    assert [r.urn.rpartition("::")[2] for r in ordered] == ["demo-dev", "default", "a", "c", "b", "z"]
    assert in_valid_order(ordered) == ordered


def test_a_live_provider_is_preferred_but_the_named_one_must_precede():
    old, new = replace(base()[1], id="old", delete=True), base()[1]
    user_of_old = thing("u", provider=f"{old.urn}::old")
    ordered = in_valid_order((base()[0], new, user_of_old, old))
    assert violations(Deployment(ordered)) == ()


def test_long_chains_do_not_recurse():
    chain = [thing(f"n{i}", dependencies=(urn(f"n{i - 1}"),) if i else ()) for i in range(3000)]
    ordered = in_valid_order([*base(), *reversed(chain)])
    assert ordered[2:] == tuple(chain)
    assert ordered[0].urn == ROOT

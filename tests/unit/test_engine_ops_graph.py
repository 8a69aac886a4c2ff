"""Orders over resources, and the walk."""

from __future__ import annotations

import asyncio

import pytest

from tickover.engine.graph import delete_order, dependants, in_delete_order, walk
from tickover.engine.renames import renamed
from tickover.engine.state import Deployment, PendingOperation, PendingType, ResourceState


def urn(name, type_="test:index:Thing"):
    return f"urn:pulumi:dev::demo::{type_}::{name}"


def thing(name, *needs, **fields):
    return ResourceState(
        urn(name), "test:index:Thing", True, id=name, dependencies=tuple(map(urn, needs)), **fields
    )


PROVIDER = ResourceState(urn("p", "pulumi:providers:test"), "pulumi:providers:test", True, id="1")
#   a <- b <- d
#   a <- c <- d     e alone
FIVE = (thing("a"), thing("b", "a"), thing("c", "a"), thing("d", "b", "c"), thing("e"))


def names(resources):
    return "".join(r.id for r in resources)


def test_deletion_goes_backwards():
    assert names(in_delete_order(FIVE)) == "edcba"


def test_a_parent_and_a_provider_outlive_what_is_theirs():
    child = thing("k", parent=urn("a"), provider=f"{PROVIDER.urn}::1")
    assert names(in_delete_order((PROVIDER, thing("a"), child)))[0] == "k"


def test_a_doomed_entry_goes_before_what_it_needs():
    doomed = thing("x", "a", delete=True)
    assert names(in_delete_order((thing("a"), thing("x"), doomed))).index("x") < 2


@pytest.mark.parametrize("is_doomed", [(True, False), (False, False)])
def test_a_ring_of_references_has_an_order_all_the_same(is_doomed):
    first, second = is_doomed
    ring = (
        thing("x", "y", delete=first),
        thing("x", "y"),
        thing("y", "x", delete=second),
    )
    assert sorted(names(in_delete_order(ring))) == ["x", "x", "y"]


@pytest.mark.parametrize(("of", "found"), [("a", "bcd"), ("b", "d"), ("d", ""), ("e", "")])
def test_dependants_are_transitive(of, found):
    assert dependants(FIVE, urn(of)) == tuple(map(urn, found))


@pytest.mark.parametrize(("fails", "visited"), [("", "abcde"), ("b", "bcde"), ("d", "de")])
def test_a_walk_leaves_out_what_follows_a_failure(fails, visited):
    seen = []

    async def act(index):
        seen.append(FIVE[index].id)
        await asyncio.sleep(0)
        return FIVE[index].id != fails

    asyncio.run(walk(delete_order(FIVE), act, 2))
    assert "".join(sorted(seen)) == visited
    assert all(seen.index("d") < seen.index(x) for x in "abc" if x in seen)


@pytest.mark.parametrize("limit", [1, 2, 8])
def test_a_walk_keeps_its_limit(limit):
    now, most = 0, 0

    async def act(_):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return True

    asyncio.run(walk(delete_order([thing(n) for n in "abcdef"]), act, limit))
    assert most == min(limit, 6)


def test_a_rename_reaches_every_reference():
    old, new = urn("a"), urn("z", "test:index:Other")
    child = thing("b", "a", parent=old, deleted_with=old, property_dependencies={"k": (old,)})
    state = Deployment((thing("a"), child), (PendingOperation(thing("a"), PendingType.UPDATING),))
    found = renamed(state, {old: new})
    assert old not in repr(found) and found.resources[0].type == "test:index:Other"
    assert found.pending_operations[0].resource.urn == new


def test_a_rename_of_a_provider_keeps_its_id_in_references():
    child = thing("b", provider=f"{PROVIDER.urn}::1")
    to = urn("q", "pulumi:providers:test")
    found = renamed(Deployment((PROVIDER, child)), {PROVIDER.urn: to})
    assert found.resources[1].provider == f"{to}::1"

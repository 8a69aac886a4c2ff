"""What each finished step makes of the state."""

from __future__ import annotations

from dataclasses import replace

from tests.support.engine_state import base, deployment, thing, urn
from tickover.engine.integrity import violations
from tickover.engine.plan import Op
from tickover.engine.snapshot import Snapshot
from tickover.engine.state import PendingOperation, PendingType


def names(snapshot):
    """name[id flags] of everything but the stack and the provider."""
    found = [r for r in snapshot.resources if r.custom and "providers" not in r.type]
    marks = [("!" if r.delete else "") + ("?" if r.pending_replacement else "") for r in found]
    return [f"{r.urn.rpartition('::')[2]}:{r.id}{m}" for r, m in zip(found, marks, strict=True)]


def test_finished_come_first_then_the_untouched():
    snapshot = Snapshot(deployment(thing("a"), thing("b"), thing("c")))
    snapshot.finish(Op.SAME, thing("c"), thing("c"))
    snapshot.finish(Op.CREATE, thing("n", dependencies=(urn("b"),)), None)
    assert names(snapshot) == ["c:id-c", "b:id-b", "n:id-n", "a:id-a"]
    assert violations(snapshot.deployment()) == ()


def test_create_before_delete():
    old = thing("a", id="1")
    snapshot = Snapshot(deployment(old))
    snapshot.finish(Op.CREATE_REPLACEMENT, thing("a", id="2"), old)
    snapshot.finish(Op.REPLACE, thing("a", id="2"), old)
    assert names(snapshot) == ["a:2", "a:1!"]
    snapshot.finish(Op.DELETE_REPLACED, None, replace(old, delete=True))
    assert names(snapshot) == ["a:2"]


def test_replaced_twice_in_one_run_keeps_both_doomed_ones():
    old = thing("a", id="1")
    snapshot = Snapshot(deployment(old))
    snapshot.finish(Op.CREATE_REPLACEMENT, thing("a", id="2"), old)
    snapshot.finish(Op.CREATE_REPLACEMENT, thing("a", id="3"), thing("a", id="2"))
    assert names(snapshot) == ["a:2!", "a:3", "a:1!"]
    assert violations(snapshot.deployment()) == ()
    snapshot.finish(Op.DELETE_REPLACED, None, thing("a", id="2", delete=True))
    assert names(snapshot) == ["a:3", "a:1!"]


def test_delete_before_replace():
    old = thing("a", id="1")
    snapshot = Snapshot(deployment(old, thing("b", dependencies=(urn("a"),))))
    snapshot.finish(Op.DELETE_REPLACED, replace(old, pending_replacement=True), old)
    assert names(snapshot) == ["a:1?", "b:id-b"]
    snapshot.finish(Op.CREATE_REPLACEMENT, thing("a", id="2"), old)
    assert names(snapshot) == ["a:2", "b:id-b"]


def test_deletes():
    doomed = thing("a", id="0", delete=True)
    snapshot = Snapshot(deployment(thing("a"), doomed, thing("b", pending_replacement=True)))
    snapshot.finish(Op.DELETE, None, doomed)
    assert names(snapshot) == ["a:id-a", "b:id-b?"]
    snapshot.finish(Op.REMOVE_PENDING_REPLACE, None, thing("b", pending_replacement=True))
    snapshot.finish(Op.DELETE, None, thing("a"))
    assert names(snapshot) == []


def test_a_gone_resource_after_refresh_leaves_no_reference():
    snapshot = Snapshot(deployment(thing("a"), thing("b", dependencies=(urn("a"),), deleted_with=urn("a"))))
    snapshot.finish(Op.REFRESH, None, thing("a"))
    assert names(snapshot) == ["b:id-b"]
    assert violations(snapshot.deployment()) == ()


def test_a_rename_leaves_the_old_name_behind():
    snapshot = Snapshot(deployment(thing("old", id="1")))
    snapshot.finish(Op.UPDATE, thing("new", id="1", aliases=(urn("old"),)), thing("old", id="1"))
    assert names(snapshot) == ["new:1"]


def test_pending_operations_come_and_go():
    carried = PendingOperation(thing("x"), PendingType.CREATING)
    stale = PendingOperation(thing("y"), PendingType.UPDATING)
    snapshot = Snapshot(replace(deployment(thing("a")), pending_operations=(carried, stale)))
    snapshot.begin(1, Op.CREATE, thing("n"))
    snapshot.begin(2, Op.DELETE, thing("a"))
    snapshot.begin(3, Op.UPDATE, thing("a"))
    snapshot.finish(Op.CREATE, thing("n"), None, 1)
    snapshot.abandon(3)
    assert snapshot.deployment().pending_operations == (
        carried,
        PendingOperation(thing("a"), PendingType.DELETING),
    )


def test_external_is_discarded_when_replaced():
    read = thing("a", external=True, id="r")
    snapshot = Snapshot(deployment(read))
    snapshot.finish(Op.CREATE_REPLACEMENT, thing("a"), read)
    assert names(snapshot) == ["a:id-a"]


def test_nothing_done_is_nothing_changed():
    state = deployment(thing("a"), thing("b"))
    assert Snapshot(state).deployment() == state
    assert state.resources[:2] == base()

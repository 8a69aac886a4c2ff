"""kill -9 of an `up` before, inside and after each provider call, and the runs after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engine_ops import KILLED, FileStack, plan_lines
from tests.support.engine_scripted import name_of
from tickover.engine import leftovers
from tickover.engine.integrity import violations

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
from pathlib import Path
from tests.support.engine_ops import KILLED, FileStack
from tickover.engine.journal import Journal

moment = sys.argv[2]
stack = FileStack(Path(sys.argv[1]))
if not moment.startswith("after"):
    stack.die_at = moment
else:  # the call's end is on disk, and nothing of what follows
    import os
    from tests.support.engine_scripted import name_of
    done, victim, names = Journal.done, moment.split()[2], {}

    async def begin(self, op, resource, old=None, real=Journal.begin):
        ticket = await real(self, op, resource, old)
        names[ticket] = name_of(resource.urn)
        return ticket

    async def ended(self, ticket, resource):
        await done(self, ticket, resource)
        if names[ticket] == victim:
            os._exit(KILLED)

    Journal.begin, Journal.done = begin, ended
stack.up()
"""
FIRST = """
a = Thing("a", kind=1)
b = Thing("b", size=1, of=a.token)
c = Thing("c", size=1, opts=Opts(depends_on=[b]))
"""
SECOND = """
a = Thing("a", kind=2)
b = Thing("b", size=2, of=a.token)
d = Thing("d")
"""


def killed(stack, moment):
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(stack.root), moment],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == KILLED, child.stderr


def pending(stack):
    """What an operation would find pending (the stored list may hold what was settled since)."""
    found = leftovers.pruned(stack.deployment())
    return [(p.type.value, name_of(p.resource.urn)) for p in found.pending_operations]


def completed(stack, ids, program=None):
    """The next preview names what was cut off; the next up ends it, and world and state agree."""
    cut = pending(stack)
    assert violations(stack.deployment()) == ()
    state = sorted(p.read_bytes() for p in (stack.root / "state").rglob("dev.json*") if p.is_file())
    seen = stack.preview()
    assert state == sorted(p.read_bytes() for p in (stack.root / "state").rglob("dev.json*") if p.is_file())
    text = "\n".join(seen.diagnostics)
    assert all(name in text and verb in text for verb, name in cut), text
    outcome = stack.up(program)
    assert outcome.result == "succeeded", outcome.diagnostics
    assert sorted(stack.file_world.things()) == ids
    known = [r for r in stack.deployment().resources if r.type == "test:index:Thing"]
    assert sorted(r.id for r in known) == ids and not any(r.delete for r in known)
    assert pending(stack) == [] and violations(stack.deployment()) == ()
    settled = stack.up()
    assert settled.plan.has_changes is False and settled.diagnostics == ()


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_creations(tmp_path, moment, name):
    stack = FileStack(tmp_path).write(FIRST)
    killed(stack, f"{moment} create {name}")
    assert pending(stack) == ([] if moment == "after" else [("creating", name)])
    completed(stack, ["a/1", "b/1", "c/1"])


CHANGES = [("create", "a"), ("update", "b"), ("create", "d"), ("delete", "c"), ("delete", "a")]


@pytest.mark.parametrize(
    ("moment", "verb", "name"),
    [
        (moment, verb, name)
        for moment in ("before", "inside", "after")
        for verb, name in CHANGES
        if (moment, verb, name) != ("after", "delete", "a")  # its creation is the first call to end
    ],
)
def test_changes(tmp_path, moment, verb, name):
    stack = FileStack(tmp_path)
    stack.up(FIRST)
    stack.write(SECOND)
    killed(stack, f"{moment} {verb} {name}")
    completed(stack, ["a/2", "b/1", "d/1"])


def test_an_update_that_was_cut_off_is_undone_by_going_back(tmp_path):
    stack = FileStack(tmp_path)
    stack.up('Thing("a", size=1)')
    stack.write('Thing("a", size=2)')
    killed(stack, "inside update a")
    assert stack.file_world.things()["a/1"]["size"] == 2
    outcome = stack.up('Thing("a", size=1)')  # as the state still says it is
    assert "update a [changed: size]" in plan_lines(outcome)
    assert stack.file_world.things()["a/1"]["size"] == 1


def test_a_deletion_that_was_cut_off_and_is_wanted_again_is_made_again(tmp_path):
    stack = FileStack(tmp_path)
    stack.up('Thing("a", size=1)')
    stack.write("")
    killed(stack, "inside delete a")
    assert "create a [new]" in plan_lines(stack.up('Thing("a", size=1)'))
    assert list(stack.file_world.things()) == ["a/1"] and stack.names() == ["a"]


def test_a_creation_that_is_no_longer_declared_stays_noted_until_it_is_settled(tmp_path):
    stack = FileStack(tmp_path)
    stack.write('Thing("a")')
    killed(stack, "inside create a")
    for run in (lambda: stack.up(""), stack.preview, stack.refresh, stack.up, stack.destroy):
        outcome = run()
        assert outcome.result == "succeeded"
        assert any("may exist without being known" in d for d in outcome.diagnostics)
        assert pending(stack) == [("creating", "a")]  # the only record that there may be one
    assert stack.up('Thing("a")').result == "succeeded"
    assert pending(stack) == [] and stack.names() == ["a"]


def test_a_replacement_that_was_cut_off_and_is_not_wanted_any_more_stays_noted(tmp_path):
    stack = FileStack(tmp_path)
    stack.up('Thing("a", kind=1)')
    stack.write('Thing("a", kind=2)')
    killed(stack, "inside create a")
    assert stack.up('Thing("a", kind=1)').result == "succeeded"
    assert sorted(stack.file_world.things()) == ["a/1", "a/2"] and pending(stack) == [("creating", "a")]
    assert stack.up('Thing("a", kind=2)').result == "succeeded"
    assert list(stack.file_world.things()) == ["a/2"] and pending(stack) == []


def test_killed_twice_in_a_row(tmp_path):
    stack = FileStack(tmp_path).write(FIRST)
    killed(stack, "inside create a")
    killed(stack, "inside create b")
    assert pending(stack) == [("creating", "b")]
    completed(stack, ["a/1", "b/1", "c/1"])


def test_after_a_kill_no_lock_and_no_second_object_are_left(tmp_path):
    stack = FileStack(tmp_path).write(FIRST)
    killed(stack, "inside create b")
    outcome = stack.up()
    assert any("stale lock" in d for d in outcome.diagnostics)
    assert not stack.backend.holders("demo", "dev")

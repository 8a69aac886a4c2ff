"""What goes wrong in an operation: what is reported, what is kept, what the next run makes of it."""

from __future__ import annotations

import asyncio
import errno

import pytest

from tests.support.engine_ops import step_events
from tests.support.engine_scripted import Stack, name_of
from tickover.engine import locks
from tickover.engine.events import Diagnostic
from tickover.engine.integrity import violations
from tickover.engine.journal import Journal
from tickover.engine.provider import CheckFailure, InitFailed, Severity
from tickover.engine.stores.checkpoints import Checkpoints
from tickover.errors import Exit, TickoverError


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


def failing(error):
    async def fail():
        raise error

    return fail


def errors(stack):
    return [e.message for e in stack.events if isinstance(e, Diagnostic) and e.severity is Severity.ERROR]


def refused(text="it said no"):
    return TickoverError("refused", "The cloud refused", text)


def test_only_the_cause_is_reported_what_runs_ends_and_the_rest_waits(stack):
    gate = {"running": asyncio.Event(), "open": asyncio.Event()}

    async def slow():
        gate["running"].set()
        await gate["open"].wait()

    async def fail():
        await gate["running"].wait()
        asyncio.get_running_loop().call_later(0.05, gate["open"].set)
        raise refused()

    stack.world.before |= {"create slow": slow, "create bad": fail}
    outcome = stack.up('Thing("slow")\nbad = Thing("bad")\nThing("after", of=bad.token)\n')
    assert (outcome.result, outcome.exit_code) == ("failed", Exit.RESOURCE)
    assert "finished create slow" in step_events(stack) and "failed create bad" in step_events(stack)
    assert stack.names() == ["slow"] and "create after" not in stack.world.calls
    assert errors(stack) == ["The cloud refused\nit said no"]
    stack.world.before.clear()
    assert stack.up().result == "succeeded"
    assert sorted(stack.names()) == ["after", "bad", "slow"] and len(stack.world.things) == 3


@pytest.mark.parametrize("verb", ["check", "diff", "create", "update", "delete"])
def test_a_bug_of_a_provider_is_named_as_one_and_nothing_hangs(stack, verb):
    stack.up('Thing("a", size=1)\nThing("gone")\n')
    stack.world.before[{"create": "create b", "delete": "delete gone"}.get(verb, f"{verb} a")] = failing(
        KeyError("requestId")
    )
    outcome = stack.up('Thing("a", size=2)\nThing("b")\n')
    assert outcome.exit_code is Exit.INTERNAL
    (message,) = errors(stack)
    assert "KeyError: 'requestId'" in message and "bug" in message
    assert stack.deployment().pending_operations == () and violations(stack.deployment()) == ()
    stack.world.before.clear()
    assert stack.up().result == "succeeded" and sorted(stack.names()) == ["a", "b"]


def test_one_preview_reports_the_bad_inputs_of_all_resources(stack):
    stack.world.checks = {
        "a": (CheckFailure("gpu.type", "No such type."), CheckFailure("size", "Too big.")),
        "b": (CheckFailure("size", "Too small."),),
        "c": (CheckFailure("", "Altogether wrong."),),
    }
    outcome = stack.preview('a = Thing("a")\nThing("b")\nThing("c", of=a.token)\nThing("d", of=a.token)\n')
    assert outcome.exit_code is Exit.CONFIGURATION
    text = "\n".join(errors(stack))
    assert [t in text for t in ("gpu.type: No", "size: Too big", "Too small", "Altogether")] == [True] * 4
    assert len(errors(stack)) == 3 and "check d" in stack.world.calls


def test_a_failed_deletion_keeps_the_resource(stack):
    stack.up('a = Thing("a")\nThing("b", of=a.token)\n')
    stack.world.before["delete b"] = failing(refused())
    outcome = stack.up("")
    assert outcome.exit_code is Exit.RESOURCE and stack.names() == ["a", "b"]
    assert "delete a" not in stack.world.calls
    stack.world.before.clear()
    assert stack.destroy().result == "succeeded" and stack.names() == []


def test_a_replaced_object_that_cannot_be_deleted_is_deleted_by_the_next_run(stack):
    stack.up('Thing("a", kind=1)')
    stack.world.before["delete a"] = failing(refused())
    assert stack.up('Thing("a", kind=2)').exit_code is Exit.RESOURCE
    assert sorted((r.id, r.delete) for r in stack.deployment().resources if name_of(r.urn) == "a") == [
        ("a-1", True),
        ("a-2", False),
    ]
    stack.world.before.clear()
    outcome = stack.up()
    assert outcome.plan.has_changes or "delete-replaced" in outcome.plan.to_text()
    assert list(stack.world.things) == [("", "a-2")] and stack.names() == ["a"]


def test_a_replacement_that_fails_after_its_old_one_went_is_made_by_the_next_run(stack):
    program = 'a = Thing("a", kind={}, opts=Opts(delete_before_replace=True))\nThing("b", kind=a.token)\n'
    stack.up(program.format(1))
    stack.world.before["create a"] = failing(refused())
    assert stack.up(program.format(2)).exit_code is Exit.RESOURCE
    assert stack.world.things == {} and violations(stack.deployment()) == ()
    assert all(r.pending_replacement for r in stack.deployment().resources if r.type == "test:index:Thing")
    stack.world.before.clear()
    stack.world.calls.clear()
    assert stack.up().result == "succeeded"
    assert stack.world.effects() == ["create a", "create b"]
    assert not any(r.pending_replacement for r in stack.deployment().resources)


def test_an_update_that_is_half_done_keeps_the_old_inputs(stack):
    stack.up('Thing("a", size=1)')
    stack.world.before["update a"] = failing(InitFailed("a-1", {"size": 2}, ("not ready",)))
    assert stack.up('Thing("a", size=2)').exit_code is Exit.RESOURCE
    (a,) = [r for r in stack.deployment().resources if name_of(r.urn) == "a"]
    assert (a.inputs["size"], a.outputs["size"], a.init_errors) == (1, 2, ("not ready",))
    stack.world.before.clear()
    assert stack.up('Thing("a", size=1)').result == "succeeded"
    assert stack.world.effects()[-1] == "update a"
    assert stack.preview().plan.has_changes is False


@pytest.mark.parametrize(
    ("program", "code", "tells"),
    [
        ('Thing("a")\nraise ValueError("oops")', Exit.ERROR, "ValueError: oops\n__main__.py:"),
        ("import sys\nsys.exit(3)", Exit.ERROR, "sys.exit(3)"),
        ("def f():\n    return 1 / 0\nf()", Exit.ERROR, "in f: return 1 / 0"),
        (
            "from tickover.errors import ConfigError\n"
            'raise ConfigError("bad", "Bad value", "x is odd", "k:x")',
            Exit.CONFIGURATION,
            "Bad value [k:x]\nx is odd",
        ),
        ('Thing("a")\nThing("a")', Exit.CONFIGURATION, "Two resources of one name"),
        ("import nosuchmodule", Exit.ERROR, "nosuchmodule"),
        ("x = (", Exit.ERROR, "SyntaxError"),
        ("def r():\n    r()\nr()", Exit.ERROR, "RecursionError"),
    ],
)
def test_what_a_program_raises_is_one_error_with_its_code(stack, program, code, tells):
    outcome = stack.up(program)
    assert (outcome.result, outcome.exit_code) == ("failed", code)
    (message,) = errors(stack)
    assert tells in message and "site-packages" not in message
    assert stack.world.effects() == []


def test_an_early_exit_without_an_error_is_an_ordinary_end(stack):
    outcome = stack.up('import sys\na = Thing("a")\npulumi.export("t", a.token)\nsys.exit(0)\nThing("b")\n')
    assert outcome.result == "succeeded" and outcome.outputs == {"t": "token of a-1"}
    assert stack.preview().plan.has_changes is False


@pytest.mark.parametrize(
    ("departs", "tells"),
    [
        ('if not pulumi.runtime.is_dry_run():\n    Thing("extra")', "was not in the plan"),
        (
            'Thing("a", size=1 if pulumi.runtime.is_dry_run() else 2)',
            "was planned as 'same'; now that all is known it was 'update'",
        ),
    ],
)
def test_more_than_was_planned_is_done_and_told(stack, departs, tells):
    stack.up('Thing("a", size=1)')
    outcome = stack.up(f'pulumi.export("n", 1)\n{departs}')
    assert outcome.exit_code is Exit.OK and any(tells in d for d in outcome.diagnostics), outcome.diagnostics
    assert violations(stack.deployment()) == ()


def test_less_than_was_planned_needs_no_word(stack):
    outcome = stack.up('if pulumi.runtime.is_dry_run():\n    Thing("extra")')
    assert outcome.exit_code is Exit.OK and outcome.diagnostics == () and stack.world.effects() == []


def test_a_program_that_fails_only_when_applied_saves_what_was_done(stack):
    outcome = stack.up(
        'a = Thing("a")\na.token.apply(lambda t: 1 / 0)\npulumi.export("x", a.token.apply(lambda t: t))\n'
    )
    assert outcome.exit_code is Exit.ERROR and "ZeroDivisionError" in errors(stack)[0]
    assert stack.names() == ["a"]


def test_a_lock_of_another_process_refuses_at_once(stack):
    stack.up('Thing("a")')
    folder = locks.lock_folder(stack.backend.root, "demo", "dev")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.json").write_text(
        '{"pid": 1, "username": "eve", "hostname": "elsewhere", "timestamp": "now"}'
    )
    with pytest.raises(TickoverError, match="eve@elsewhere") as caught:
        stack.up('Thing("b")')
    assert caught.value.code == "stack-locked" and stack.names() == ["a"]
    assert stack.preview().result == "succeeded"  # a preview takes none


@pytest.mark.parametrize("writes", range(8))
def test_a_full_disk_stops_the_run_and_loses_nothing(stack, monkeypatch, writes):
    stack.up('Thing("a", size=1)')
    real, left = Journal._write, [writes]

    def write(self, line):
        if left[0] == 0:
            raise TickoverError("disk-full", "Disk is full", str(errno.ENOSPC))
        left[0] -= 1
        real(self, line)

    monkeypatch.setattr(Journal, "_write", write)
    program = 'a = Thing("a", size=2)\nThing("b", of=a.token)\n'
    try:
        outcome = stack.up(program)
    except TickoverError as error:
        assert error.code == "disk-full"
    else:
        assert outcome.result == "failed" and "Disk is full" in errors(stack)[0] and len(errors(stack)) == 1
    assert violations(stack.deployment()) == ()
    monkeypatch.undo()
    known = {r.id for r in stack.deployment().resources} | {
        f"{name_of(p.resource.urn)}-1" for p in stack.deployment().pending_operations
    }
    assert {id_ for _, id_ in stack.world.things} <= known
    assert stack.up(program).result == "succeeded"
    assert sorted(stack.names()) == ["a", "b"] and stack.deployment().pending_operations == ()


def test_a_state_that_cannot_be_saved_is_an_error_and_the_next_run_knows_all(stack, monkeypatch):
    def save(*_, **__):
        raise TickoverError("disk-full", "Disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "replace", save)
        outcome = stack.up('Thing("a")')
    assert outcome.result == "failed" and outcome.exit_code is Exit.ERROR
    assert stack.names() == ["a"]  # from the journal that stayed
    stack.world.calls.clear()
    assert stack.up().result == "succeeded" and stack.world.effects() == []
    assert stack.names() == ["a"] and "token of a-1" in stack.state_text()


def test_a_failure_leaves_no_chatter_of_the_event_loop(stack, caplog, capfd):
    stack.world.before["create bad"] = failing(refused())
    program = 'bad = Thing("bad")\nfor i in range(5):\n    Thing(f"t{i}", of=bad.token)\n'
    assert stack.up(program).exit_code is Exit.RESOURCE
    assert caplog.text == "" and capfd.readouterr().err == ""

"""The engine's process killed in the middle of an apply, and the run after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engine_scripted import Stack, name_of
from tickover.engine.integrity import violations

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = 'a = Thing("a", size={size})\nb = Thing("b", of=a.token)\nc = Thing("c", of=b.token)\n'
CHILD = """
import os, sys
from pathlib import Path
from tests.support.engine_scripted import Stack

async def die():
    os._exit(137)

stack = Stack(Path(sys.argv[1]))
stack.world.before[sys.argv[2]] = die
stack.world.things.update({("", f"{n}-{i}"): {} for i, n in enumerate("abc", 1)})
stack.up()
"""


def killed_at(stack: Stack, call: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(stack.root), call],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 137, child.stderr


@pytest.mark.parametrize("victim", ["a", "b", "c"])
def test_a_kill_in_a_creation_names_it_and_the_next_run_completes(tmp_path, victim):
    stack = Stack(tmp_path).write(PROGRAM.format(size=1))
    killed_at(stack, f"create {victim}")
    loaded = stack.backend.load("demo", "dev", stack.keyring())
    assert [name_of(p.resource.urn) for p in loaded.deployment.pending_operations] == [victim]
    assert violations(loaded.deployment) == ()
    outcome = stack.up()
    assert outcome.result == "succeeded"
    assert any(victim in notice.splitlines()[-1] for notice in outcome.diagnostics if "interrupted" in notice)
    assert stack.world.effects() == [f"create {n}" for n in "abc" if n >= victim]
    assert stack.names() == ["a", "b", "c"]
    assert stack.deployment().pending_operations == ()


def test_a_kill_in_an_update_is_tried_again(tmp_path):
    stack = Stack(tmp_path)
    stack.up(PROGRAM.format(size=1))
    stack.write(PROGRAM.format(size=2))
    stack.world.calls.clear()
    killed_at(stack, "update a")
    assert stack.up().result == "succeeded"
    assert "update a" in stack.world.effects()


def test_a_kill_in_a_deletion_is_tried_again(tmp_path):
    stack = Stack(tmp_path)
    stack.up(PROGRAM.format(size=1))
    stack.write("")
    stack.world.calls.clear()
    killed_at(stack, "delete b")
    assert stack.up().result == "succeeded"
    assert "delete b" in stack.world.effects()
    assert stack.names() == []

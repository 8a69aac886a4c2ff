"""kill -9 of an `up` at each of its writes: every journal record (whole or torn), fsync and rename."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engine_ops import FileStack
from tests.support.engine_scripted import name_of
from tickover.engine import leftovers
from tickover.engine.integrity import violations

ROOT = Path(__file__).resolve().parents[2]
FIRST = """
a = Thing("a", kind=1)
b = Thing("b", kind=1, size=1, of=a.token, opts=Opts(delete_before_replace=True))
c = Thing("c", size=1, opts=Opts(depends_on=[b]))
"""
SECOND = """
a = Thing("a", kind=2)
b = Thing("b", kind=2, size=2, of=a.token, opts=Opts(delete_before_replace=True))
d = Thing("d", size=1)
"""
WANTED = ["a/2", "b/2", "d/1"]
# Forks a child per point, until one comes through. argv: the folder that is copied, what is counted, the
# distance of points.
DRIVER = """
import itertools, os, shutil, signal, sys
from pathlib import Path
from tests.support.engine_ops import FileStack
from tickover.engine.journal import Journal

base, mode = Path(sys.argv[1]), sys.argv[2]


def run(root, point):
    stack = FileStack(root)
    stack.parallel = 1
    seen = itertools.count(1)

    def reached():
        if next(seen) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    write, fsync, rename = Journal._write, os.fsync, os.replace

    def recorded(self, line):
        write(self, line)
        reached()

    def torn(self, line):
        before = self._end
        write(self, line)
        if next(seen) == point:
            os.truncate(self._path, before + (self._end - before) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def synced(handle):
        reached()
        fsync(handle)

    def renamed(*args, **kwargs):
        reached()
        rename(*args, **kwargs)
        reached()

    if mode == "record":
        Journal._write = recorded
    elif mode == "torn":
        Journal._write = torn
    elif mode == "fsync":
        os.fsync = synced
    else:
        os.replace = renamed
    return stack.up(skip_preview=True).result == "succeeded"


for point in itertools.count(1, int(sys.argv[3])):
    root = base.parent / f"{mode}{point}"
    shutil.copytree(base, root)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if run(root, point) else 1)
        finally:
            os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != -signal.SIGKILL:
        shutil.rmtree(root)
        sys.exit(0 if code == 0 else f"child of point {point} ended with {code}")
"""


def killed_everywhere(base, mode, distance):
    """The folders that the killed runs left, in the order of their points. distance 1 is every point."""
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER, str(base), mode, str(distance)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert driver.returncode == 0, driver.stderr
    return sorted(base.parent.glob(f"{mode}*"), key=lambda p: int(p.name.removeprefix(mode)))


def agrees(stack):
    """World and state are what the program says, and nothing is left to settle."""
    known = [r for r in stack.deployment().resources if r.type == "test:index:Thing"]
    assert sorted(stack.file_world.things()) == sorted(r.id for r in known) == WANTED
    assert not any(r.delete or r.pending_replacement or r.init_errors for r in known)
    assert leftovers.pruned(stack.deployment()).pending_operations == ()
    assert violations(stack.deployment()) == ()


@pytest.mark.parametrize(
    ("mode", "distance", "least"), [("record", 2, 8), ("torn", 3, 5), ("fsync", 2, 5), ("rename", 1, 4)]
)
def test_the_next_up_ends_what_was_killed(tmp_path, mode, distance, least):
    base = tmp_path / "base"
    base.mkdir()
    FileStack(base).up(FIRST, skip_preview=True)
    FileStack(base).write(SECOND)
    roots = killed_everywhere(base, mode, distance)
    assert len(roots) >= least
    for root in roots:
        stack = FileStack(root)
        found = stack.deployment()
        assert violations(found) == (), root.name
        known = {r.id for r in found.resources}
        pending = {name_of(p.resource.urn) for p in found.pending_operations}
        lost = {i for i in stack.file_world.things() if i not in known and i.partition("/")[0] not in pending}
        assert not lost, f"{root.name}: {lost} in the cloud and not in the state"
        outcome = stack.up(skip_preview=True)
        assert outcome.result == "succeeded", (root.name, outcome.diagnostics)
        agrees(stack)
        shutil.rmtree(root)

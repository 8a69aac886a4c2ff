"""Whatever the journal was cut at, the replayed state is sound and forgets no call that had begun."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.engine_state import (
    PROJECT,
    STACK,
    deployment,
    keyring,
    locked_keyring,
    thing,
    urn,
)
from tickover.engine import journal as journals
from tickover.engine.backend import FileBackend
from tickover.engine.integrity import violations
from tickover.engine.journal import Journal
from tickover.engine.plan import Op
from tickover.engine.values import Secret
from tickover.errors import TickoverError

RING = keyring()


@st.composite
def operations(draw):
    """(base things, steps): a run over at most eight names, each depending on names before it.

    A step is (verb, name, needs, ending); verbs are what an engine does in an up, then deletes in reverse.
    """
    count = draw(st.integers(1, 8))
    existing = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    needs = [sorted(draw(st.sets(st.integers(0, i - 1), max_size=2))) if i else [] for i in range(count)]
    things = [
        thing(f"n{i}", dependencies=tuple(urn(f"n{j}") for j in needs[i] if existing[j]))
        for i in range(count)
        if existing[i]
    ]
    steps, wanted = [], set()
    for i in range(count):
        ready = all(j in wanted for j in needs[i])
        verb = draw(
            st.sampled_from(
                ["same", "update", "replace", "dbr", "drop"] if existing[i] else ["create", "drop"]
            )
        )
        if verb == "drop" or not ready:
            continue
        wanted.add(i)
        steps.append((verb, i, needs[i], draw(st.sampled_from(["done", "done", "partial", "failed"]))))
        if steps[-1][3] == "failed":
            return things, steps, []
    gone = [i for i in range(count) if existing[i] and i not in wanted]
    doomed = [i for verb, i, _, _ in steps if verb == "replace"]
    return things, steps, [*reversed(doomed), *reversed(gone)]


async def perform(journal: Journal, things, steps, gone) -> None:
    old_of = {r.urn: r for r in things}
    replaced = set()
    for verb, i, needs, ending in steps:
        old = old_of.get(urn(f"n{i}"))
        new = thing(
            f"n{i}",
            id=f"id2-{i}" if verb in ("replace", "dbr", "create") else f"id-n{i}",
            dependencies=tuple(urn(f"n{j}") for j in needs),
            inputs={"password": Secret(f"hunter{i}")},
            init_errors=("half",) if ending == "partial" else (),
        )
        if verb == "same":
            journal.note(Op.SAME, replace(old, dependencies=new.dependencies), old)
            continue
        if verb == "dbr":
            ticket = await journal.begin(Op.DELETE_REPLACED, old)
            await journal.done(ticket, replace(old, pending_replacement=True))
        op = {"create": Op.CREATE, "update": Op.UPDATE}.get(verb, Op.CREATE_REPLACEMENT)
        ticket = await journal.begin(op, new, old)
        if ending == "failed":
            await journal.failed(ticket)
            return
        await journal.done(ticket, new)
        if verb == "replace":
            replaced.add(i)
    for i in gone:
        old = replace(old_of[urn(f"n{i}")], delete=i in replaced)
        ticket = await journal.begin(Op.DELETE_REPLACED if i in replaced else Op.DELETE, old)
        await journal.done(ticket, None)


def written(folder: Path, things, steps, gone) -> tuple[bytes, Journal]:
    async def run() -> Journal:
        base = deployment(*things)
        journal = Journal(folder / "j", base, "d0", RING.for_provider(None))
        await perform(journal, things, steps, gone)
        journal.close()
        return journal

    journal = asyncio.run(run())
    return (folder / "j").read_bytes(), journal


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(run=operations(), data=st.data())
def test_a_journal_cut_anywhere_replays_to_a_sound_state(tmp_path, run, data):
    things, steps, gone = run
    whole, journal = written(tmp_path, things, steps, gone)
    base = deployment(*things)
    full = journals.replay(base, journals.parse(whole), RING.for_provider).deployment
    assert full.resources == journal.deployment().resources
    assert full.pending_operations == journal.deployment().pending_operations
    assert b"hunter" not in whole
    cuts = data.draw(st.lists(st.integers(0, len(whole)), min_size=5, max_size=20))
    for cut in cuts:
        entries = journals.parse(whole[:cut])
        got = journals.replay(base, entries, RING.for_provider)
        assert violations(got.deployment) == ()
        begun = {e["n"] for e in entries if e["k"] == "begin"}
        ended = {e["n"] for e in entries if e["k"] in ("done", "failed")}
        assert len(got.deployment.pending_operations) == len(begun - ended) == len(got.interrupted)


def test_every_byte_of_one_rich_journal(tmp_path):
    things = [thing("n0"), thing("n1", dependencies=(urn("n0"),)), thing("n3")]
    steps = [
        ("replace", 0, [], "done"),
        ("dbr", 1, [0], "partial"),
        ("create", 2, [0, 1], "done"),
    ]
    whole, journal = written(tmp_path, things, steps, [0, 3])
    base = deployment(*things)
    lengths = set()
    for cut in range(len(whole) + 1):
        entries = journals.parse(whole[:cut])
        got = journals.replay(base, entries, RING.for_provider)
        assert violations(got.deployment) == ()
        lengths.add(len(entries))
    assert len(lengths) == whole.count(b"\n") + 1
    assert journal.deployment().pending_operations == ()
    assert sorted(r.id for r in journal.deployment().resources if r.type.startswith("test:")) == [
        "id2-0",
        "id2-1",
        "id2-2",
    ]


def test_steps_at_the_same_time_share_flushes_and_are_all_durable(tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def slow(handle):
        calls.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", slow)

    async def run():
        journal = Journal(tmp_path / "j", deployment(), "d", RING.for_provider(None))

        async def one(i):
            ticket = await journal.begin(Op.CREATE, thing(f"t{i}"))
            await journal.done(ticket, thing(f"t{i}"))

        await asyncio.gather(*(one(i) for i in range(50)))
        journal.close()
        return journal.deployment()

    final = asyncio.run(run())
    assert len(final.resources) == 52
    assert len(calls) < 50
    entries = journals.parse((tmp_path / "j").read_bytes())
    assert journals.replay(deployment(), entries, RING.for_provider).deployment == final


def test_a_torn_journal_takes_a_commit_mark(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b'{"k":"base","v":1,"digest":"a"}\n{"k":"begin","n":1')
    journals.commit_file(path, "b")
    entries = journals.parse(path.read_bytes())
    assert [e["k"] for e in entries] == ["base", "commit"]
    assert journals.committed_digests(entries) == {"b"}


def test_a_journal_of_another_format_is_not_guessed_at():
    with pytest.raises(TickoverError, match="another version"):
        journals.base_digest([{"k": "base", "v": 99}])


# --- with the back end -----------------------------------------------------------------------------------


def crashed(folder: Path, *, commit: bool = False):
    """A stack with one resource, and the journal of an up that died while it created another."""
    backend = FileBackend(folder)
    saved = backend.save(PROJECT, STACK, deployment(thing("a")), RING)

    async def run():
        loaded = backend.load(PROJECT, STACK, RING)
        journal = backend.open_journal(PROJECT, STACK, loaded, RING)
        ticket = await journal.begin(Op.CREATE, thing("b", id="", inputs={"p": Secret("hunter2")}))
        await journal.done(ticket, thing("b", inputs={"p": Secret("hunter2")}))
        await journal.begin(Op.CREATE, thing("c", id=""))
        if commit:
            journal.commit("another")
        journal.close()

    asyncio.run(run())
    return backend, saved


def test_a_load_recovers_what_a_crash_left(tmp_path):
    backend, _ = crashed(tmp_path)
    loaded = backend.load(PROJECT, STACK, RING)
    assert loaded.recovered
    assert {r.urn for r in loaded.deployment.resources} >= {urn("a"), urn("b")}
    assert [op.resource.urn for op in loaded.deployment.pending_operations] == [urn("c")]
    assert urn("c") in loaded.notices[0]
    with pytest.raises(TickoverError, match="bug in tickover"):
        backend.open_journal(PROJECT, STACK, loaded, RING)
    backend.save(PROJECT, STACK, loaded.deployment, RING)
    again = backend.load(PROJECT, STACK, RING)
    assert not again.recovered
    assert again.notices == ()
    assert again.deployment.resources == loaded.deployment.resources
    inputs = {r.urn: r.inputs for r in again.deployment.resources}
    assert inputs[urn("b")] == {"p": Secret("hunter2")}


def test_a_crash_between_save_and_clean_up_recovers_nothing_twice(tmp_path):
    backend, _ = crashed(tmp_path)
    path = next(tmp_path.rglob("*-journal"))
    loaded = backend.load(PROJECT, STACK, RING)
    before = path.read_bytes()
    backend.save(PROJECT, STACK, loaded.deployment, RING)
    digest = backend.load(PROJECT, STACK, RING).digest
    path.write_bytes(before)
    journals.commit_file(path, digest)  # as save does before it writes the state
    again = backend.load(PROJECT, STACK, RING)
    assert (again.recovered, again.notices) == (False, ())


def test_a_state_that_moved_on_is_not_overwritten_by_an_old_journal(tmp_path):
    backend, _ = crashed(tmp_path)
    path = next(tmp_path.rglob("*-journal"))
    state = next(tmp_path.rglob("dev.json"))
    state.write_bytes(state.read_bytes().replace(b'"custom":true', b'"custom": true'))  # by another tool
    loaded = backend.load(PROJECT, STACK, RING)
    assert not loaded.recovered
    assert "changed since by other means" in loaded.notices[0]
    backend.open_journal(PROJECT, STACK, loaded, RING).close()
    kept = [p for p in path.parent.iterdir() if p.name.startswith(path.name) and p != path]
    assert len(kept) == 1
    assert urn("c").encode() in kept[0].read_bytes()


def test_a_preview_beside_a_running_operation_is_told_so(tmp_path):
    backend, _ = crashed(tmp_path)
    folder = tmp_path / ".pulumi/locks/organization/demo/dev"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(
        '{"pid": 1, "username": "ann", "hostname": "elsewhere", "timestamp": "now"}'
    )
    loaded = backend.load(PROJECT, STACK, RING)
    assert loaded.recovered
    assert "is running on dev: ann@elsewhere" in loaded.notices[0]


def test_kill_nine_in_the_middle_of_a_run(tmp_path):
    """A real process, killed while a call is open: what it had finished is there, the open call pending."""
    program = textwrap.dedent(
        f"""
        import asyncio, sys
        from pathlib import Path
        from tests.support.engine_state import PROJECT, STACK, deployment, keyring, thing
        from tickover.engine.backend import FileBackend
        from tickover.engine.plan import Op

        async def main():
            backend, ring = FileBackend(Path({str(tmp_path)!r})), keyring()
            backend.save(PROJECT, STACK, deployment(), ring)
            lock = backend.lock(PROJECT, STACK, "up")
            journal = backend.open_journal(PROJECT, STACK, backend.load(PROJECT, STACK, ring), ring)
            for i in range(3):
                ticket = await journal.begin(Op.CREATE, thing(f"t{{i}}", id=""))
                await journal.done(ticket, thing(f"t{{i}}"))
            await journal.begin(Op.CREATE, thing("open", id=""))
            print("begun", flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
        """
    )
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"begun\n"
        child.send_signal(signal.SIGKILL)
    backend = FileBackend(tmp_path)
    with backend.lock(PROJECT, STACK, "up") as lock:
        assert len(lock.notices) == 1
        assert f"pid {child.pid}" in lock.notices[0]
    loaded = backend.load(PROJECT, STACK, locked_keyring())
    assert [r.urn for r in loaded.deployment.resources[2:]] == [urn("t0"), urn("t1"), urn("t2")]
    assert [op.resource.urn for op in loaded.deployment.pending_operations] == [urn("open")]
    assert json.loads(next(tmp_path.rglob("dev.json")).read_bytes())["version"] == 3

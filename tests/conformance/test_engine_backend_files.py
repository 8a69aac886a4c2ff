"""The file back end, judged by the layout that the Pulumi CLI documents in its source."""

from __future__ import annotations

import errno
import gzip
import json
import os
import socket
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.engine_state import (
    PROJECT,
    STACK,
    deployment,
    keyring,
    locked_keyring,
    thing,
    urn,
)
from tickover.engine import locks
from tickover.engine.backend import FileBackend
from tickover.engine.history import UpdateRecord
from tickover.engine.locks import Holder, is_stale
from tickover.engine.values import Secret
from tickover.errors import TickoverError

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
STAMP = 1767323045678000000
SECRET_STATE = deployment(thing("a", outputs={"password": Secret("hunter2"), "n": 1}))


def backend_in(folder, **env):
    return FileBackend(folder, "", {f"PULUMI_DIY_BACKEND_{k}": v for k, v in env.items()}, lambda: WHEN)


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_saved_stack_is_where_the_cli_looks(tmp_path):
    backend_in(tmp_path).save(PROJECT, STACK, deployment(), keyring())
    assert tree(tmp_path) == [".pulumi/meta.yaml", ".pulumi/stacks/demo/dev.json"]
    assert (tmp_path / ".pulumi/meta.yaml").read_text() == "version: 1\n"


@pytest.mark.parametrize("env", [{}, {"GZIP": "true"}])
def test_what_is_saved_is_loaded(tmp_path, env):
    backend, ring = backend_in(tmp_path, **env), keyring()
    assert not backend.load(PROJECT, STACK, ring).exists
    saved = backend.save(PROJECT, STACK, SECRET_STATE, ring)
    loaded = backend_in(tmp_path).load(PROJECT, STACK, keyring())
    assert loaded.deployment == saved
    assert saved.resources == SECRET_STATE.resources
    assert saved.time == "2026-01-02T03:04:05.678Z"
    assert not any(b"hunter2" in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_a_state_without_secrets_never_asks_for_a_passphrase(tmp_path):
    backend = backend_in(tmp_path)
    backend.save(PROJECT, STACK, deployment(thing("a")), locked_keyring())
    assert backend.load(PROJECT, STACK, locked_keyring()).deployment.resources[-1].urn == urn("a")


def test_the_previous_state_is_kept_beside(tmp_path):
    backend = backend_in(tmp_path)
    backend.save(PROJECT, STACK, deployment(thing("a")), keyring())
    first = (tmp_path / ".pulumi/stacks/demo/dev.json").read_bytes()
    backend.save(PROJECT, STACK, deployment(thing("b")), keyring())
    assert (tmp_path / ".pulumi/stacks/demo/dev.json.bak").read_bytes() == first
    assert (tmp_path / ".pulumi/stacks/demo/dev.json").read_bytes() != first


def test_changing_the_compression_leaves_one_state(tmp_path):
    backend_in(tmp_path).save(PROJECT, STACK, deployment(thing("a")), keyring())
    backend_in(tmp_path, GZIP="1").save(PROJECT, STACK, deployment(thing("b")), keyring())
    assert tree(tmp_path / ".pulumi/stacks") == ["demo/dev.json.bak", "demo/dev.json.gz"]
    packed = (tmp_path / ".pulumi/stacks/demo/dev.json.gz").read_bytes()
    assert urn("b").encode() in gzip.decompress(packed)
    assert backend_in(tmp_path).list_stacks()[0].resources == 3


def test_retained_checkpoints(tmp_path):
    backend_in(tmp_path, RETAIN_CHECKPOINTS="true").save(PROJECT, STACK, deployment(), keyring())
    assert f".pulumi/stacks/demo/dev.json.{STAMP}" in tree(tmp_path)


def test_list_create_remove(tmp_path):
    backend = backend_in(tmp_path)
    assert backend.list_stacks() == ()
    backend.create(PROJECT, "empty")
    backend.save(PROJECT, STACK, deployment(thing("a")), keyring())
    backend.save("other", STACK, deployment(), keyring())
    (tmp_path / ".pulumi/stacks/demo/dev.json.attrs").write_text("{}")  # what the CLI's library leaves
    (tmp_path / ".pulumi/stacks/demo/broken.json").write_text("{")
    found = [(s.project, s.name, s.resources) for s in backend.list_stacks()]
    assert found == [("demo", "broken", None), ("demo", "dev", 3), ("demo", "empty", 0), ("other", "dev", 2)]
    assert [s.name for s in backend.list_stacks("other")] == ["dev"]
    with pytest.raises(TickoverError, match="exists already"):
        backend.create(PROJECT, "empty")
    with pytest.raises(TickoverError, match="still has 3 resources"):
        backend.remove(PROJECT, STACK)
    backend.record_update(PROJECT, STACK, UpdateRecord("update", 1, 2, "succeeded"))
    backend.remove(PROJECT, STACK, force=True)
    assert not backend.exists(PROJECT, STACK)
    assert not [p for p in tree(tmp_path) if "demo/dev" in p]
    with pytest.raises(TickoverError, match="Stack not found"):
        backend.remove(PROJECT, STACK)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x" * 101])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(TickoverError, match="Stack name not allowed"):
        backend_in(tmp_path).create(PROJECT, name)


def test_history_is_a_pair_of_files_and_a_backup(tmp_path):
    backend = backend_in(tmp_path)
    backend.save(PROJECT, STACK, deployment(), keyring())
    record = UpdateRecord(
        "update", 10, 20, "succeeded", "why", {"git.head": "x"}, {"demo:a": "1"}, {"create": 2}
    )
    backend.record_update(PROJECT, STACK, record)
    assert [p for p in tree(tmp_path) if "stacks" not in p and "meta" not in p] == [
        f".pulumi/backups/demo/dev/dev.{STAMP}.json",
        f".pulumi/history/demo/dev/dev-{STAMP}.checkpoint.json",
        f".pulumi/history/demo/dev/dev-{STAMP}.history.json",
    ]
    assert backend.history(PROJECT, STACK) == (record,)
    raw = json.loads((tmp_path / f".pulumi/history/demo/dev/dev-{STAMP}.history.json").read_text())
    assert (raw["kind"], raw["startTime"], raw["endTime"], raw["resourceChanges"]) == (
        "update",
        10,
        20,
        {"create": 2},
    )


def test_backups_can_be_switched_off(tmp_path):
    backend = backend_in(tmp_path, DISABLE_CHECKPOINT_BACKUPS="true")
    backend.save(PROJECT, STACK, deployment(), keyring())
    backend.record_update(PROJECT, STACK, UpdateRecord("update", 1, 2, "failed"))
    assert not (tmp_path / ".pulumi/backups").exists()


def test_history_is_newest_first(tmp_path):
    for hour, kind in enumerate(["update", "refresh", "destroy"]):
        backend = FileBackend(tmp_path, clock=lambda hour=hour: WHEN.replace(hour=hour))
        backend.save(PROJECT, STACK, deployment(), keyring())
        backend.record_update(PROJECT, STACK, UpdateRecord(kind, 1, 2, "succeeded"))
    assert [r.kind for r in FileBackend(tmp_path).history(PROJECT, STACK)] == ["destroy", "refresh", "update"]


def test_a_layout_without_projects_is_refused(tmp_path):
    (tmp_path / ".pulumi/stacks").mkdir(parents=True)
    (tmp_path / ".pulumi/stacks/dev.json").write_text("{}")
    for act in (lambda b: b.list_stacks(), lambda b: b.save(PROJECT, STACK, deployment(), keyring())):
        with pytest.raises(TickoverError) as caught:
            act(backend_in(tmp_path))
        assert caught.value.hint == "pulumi state upgrade"


def test_a_zstd_state_is_refused_and_not_taken_for_absent(tmp_path):
    folder = tmp_path / ".pulumi/stacks/demo"
    folder.mkdir(parents=True)
    (folder / "dev.json.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(TickoverError, match="zstd"):
        backend_in(tmp_path).load(PROJECT, STACK, keyring())


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "Disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "cannot be written")],
)
def test_a_save_that_fails_leaves_the_previous_state(tmp_path, monkeypatch, code, words):
    backend = backend_in(tmp_path)
    backend.save(PROJECT, STACK, deployment(thing("a")), keyring())
    before = (tmp_path / ".pulumi/stacks/demo/dev.json").read_bytes()

    def refuse(handle):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(TickoverError, match=words):
            backend.save(PROJECT, STACK, deployment(thing("b")), keyring())
    assert (tmp_path / ".pulumi/stacks/demo/dev.json").read_bytes() == before
    assert backend.load(PROJECT, STACK, keyring()).deployment.resources[-1].urn == urn("a")
    assert not [p for p in tree(tmp_path) if p.endswith(".tmp")]


def test_a_state_folder_that_is_a_file(tmp_path):
    (tmp_path / "here").write_text("")
    with pytest.raises(TickoverError) as caught:
        backend_in(tmp_path / "here").save(PROJECT, STACK, deployment(), keyring())
    assert caught.value.code == "not-writable"


def test_an_unsound_state_is_written_and_reported(tmp_path):
    backend = backend_in(tmp_path)
    unsound = deployment(thing("a", dependencies=(urn("missing"),)))
    with pytest.raises(TickoverError, match="State is not sound"):
        backend.save(PROJECT, STACK, unsound, keyring())
    latest = json.loads((tmp_path / ".pulumi/stacks/demo/dev.json").read_bytes())["checkpoint"]["latest"]
    assert latest["resources"][-1]["urn"] == urn("a")
    assert urn("missing") in latest["metadata"]["integrity_error"]["error"]
    with pytest.raises(TickoverError, match="State is not sound"):
        backend.load(PROJECT, STACK, keyring())


def test_a_tampered_state_is_refused(tmp_path):
    backend = backend_in(tmp_path)
    saved = backend.save(PROJECT, STACK, deployment(), keyring())
    path = tmp_path / ".pulumi/stacks/demo/dev.json"
    path.write_bytes(path.read_bytes().replace(saved.version.encode(), b"v9.9.9"))
    with pytest.raises(TickoverError, match="magic"):
        backend.load(PROJECT, STACK, keyring())


# --- locks ---------------------------------------------------------------------------------------------


def lock_files(folder):
    return list((folder / ".pulumi/locks/organization/demo/dev").glob("*"))


def test_a_lock_is_the_file_the_cli_writes(tmp_path):
    with backend_in(tmp_path).lock(PROJECT, STACK, "tickover up -s dev"):
        (path,) = lock_files(tmp_path)
        content = json.loads(path.read_bytes())
        assert path.suffix == ".json"
        assert (content["pid"], content["hostname"]) == (os.getpid(), socket.gethostname())
        assert content["username"]
        assert datetime.fromisoformat(content["timestamp"]).tzinfo is not None
    assert lock_files(tmp_path) == []
    assert not [p for p in tree(tmp_path) if p.endswith((".tmp", ".new"))]


def test_a_held_lock_says_who_since_when_and_how_to_break_it(tmp_path):
    backend = backend_in(tmp_path)
    with backend.lock(PROJECT, STACK, "tickover destroy -s dev"):
        with pytest.raises(TickoverError) as caught:
            backend.lock(PROJECT, STACK, "tickover up -s dev")
        text = str(caught.value)
        assert f"(pid {os.getpid()})" in text
        assert "`tickover destroy -s dev`" in text
        assert socket.gethostname() in text
        assert "20" in text
        assert caught.value.hint == "tickover cancel -s dev"
        assert len(lock_files(tmp_path)) == 1
    backend.lock(PROJECT, STACK, "again").release()


def test_a_lock_of_the_cli_on_another_machine_is_honoured_until_cancelled(tmp_path):
    backend = backend_in(tmp_path)
    folder = tmp_path / ".pulumi/locks/organization/demo/dev"
    folder.mkdir(parents=True)
    theirs = {"pid": 1, "username": "ann", "hostname": "elsewhere", "timestamp": "2026-01-01T00:00:00+01:00"}
    (folder / "0e2f.json").write_text(json.dumps(theirs))
    with pytest.raises(TickoverError, match=r"ann@elsewhere \(pid 1\) since 2026-01-01T00:00:00\+01:00"):
        backend.lock(PROJECT, STACK, "up")
    assert [h.username for h in backend.cancel(PROJECT, STACK)] == ["ann"]
    backend.lock(PROJECT, STACK, "up").release()


def test_a_lock_that_makes_no_sense_still_holds(tmp_path):
    folder = tmp_path / ".pulumi/locks/organization/demo/dev"
    folder.mkdir(parents=True)
    (folder / "odd.json").write_text("[]")
    with pytest.raises(TickoverError, match="Stack is locked"):
        backend_in(tmp_path).lock(PROJECT, STACK, "up")


def test_two_who_look_at_the_same_time_do_not_both_get_it(tmp_path, monkeypatch):
    backend = backend_in(tmp_path)
    real = locks._write

    def interleaved(path, command):
        real(path, command)
        if command == "first":
            with pytest.raises(TickoverError):
                backend.lock(PROJECT, STACK, "second")

    monkeypatch.setattr(locks, "_write", interleaved)
    with backend.lock(PROJECT, STACK, "first"):
        assert len(lock_files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("holder", "stale"),
    [
        ({"pid": 7, "hostname": "here"}, True),
        ({"pid": 7, "hostname": "there"}, False),
        ({"pid": 8, "hostname": "here"}, False),
        ({"pid": 8, "hostname": "here", "started": 100}, False),
        ({"pid": 8, "hostname": "here", "started": 99}, True),
        ({"pid": 0, "hostname": "here"}, False),
    ],
)
def test_what_is_stale(tmp_path, holder, stale):
    found = Holder(path=tmp_path, **holder)
    assert is_stale(found, "here", alive=lambda pid: pid == 8, start=lambda pid: 100) is stale


def test_a_broken_lock_is_no_error_for_its_owner(tmp_path):
    backend = backend_in(tmp_path)
    lock = backend.lock(PROJECT, STACK, "up")
    backend.cancel(PROJECT, STACK)
    lock.release()
    assert replace(lock).notices == ()

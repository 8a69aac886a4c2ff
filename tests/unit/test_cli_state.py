"""`tickover state …` and the rarer `tickover stack …`: asking, locking, saving, telling."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cli_project import CommandLine
from tests.support.engine_state import ROOT, deployment, keyring, thing, urn
from tickover.engine import recrypt, secrets
from tickover.engine.backend import FileBackend
from tickover.engine.history import UpdateRecord
from tickover.engine.state import Deployment
from tickover.engine.values import Secret
from tickover.errors import TickoverError


@pytest.fixture
def tickover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    monkeypatch.setattr(secrets, "_ROUNDS", 1000)  # a million of them take a second each time
    return CommandLine(tmp_path / "demo", monkeypatch, capsys)


def sample() -> Deployment:
    root = replace(deployment().resources[0], outputs={"url": "http://x y", "token": Secret("hunter2")})
    made = deployment(
        thing("a", inputs={"key": Secret("hunter2")}),
        thing("b", dependencies=(urn("a"),)),
        thing("d", protect=True),
    )
    return replace(made, resources=(root, *made.resources[1:]))


@pytest.fixture
def backend(tickover: CommandLine) -> FileBackend:
    """The project's back end, in which dev has a state."""
    made = FileBackend(tickover.root / ".tickover/state")
    made.save("demo", "dev", sample(), keyring())
    return made


def state_file(backend: FileBackend, stack: str = "dev") -> Path:
    return backend.root / f".pulumi/stacks/demo/{stack}.json"


def names(backend: FileBackend, stack: str = "dev", passphrase: str = "correct horse") -> list[str]:
    loaded = backend.load("demo", stack, keyring(passphrase))
    return [r.urn.rpartition("::")[2] for r in loaded.deployment.resources]


# --- asking, locking, refusing ---------------------------------------------------------------------------


def test_nothing_happens_without_yes_and_without_a_terminal(tickover, backend):
    before = state_file(backend).read_bytes()
    ended = tickover("state", "delete", urn("b"), "-s", "dev")
    assert ended.code == 2
    assert "--yes" in ended.err
    assert state_file(backend).read_bytes() == before


def test_a_held_lock_is_a_refusal(tickover, backend):
    before = state_file(backend).read_bytes()
    with backend.lock("demo", "dev", "up"):
        ended = tickover("state", "taint", urn("a"), "-s", "dev", "--yes")
    assert ended.code == 1
    assert "locked" in ended.err.lower()
    assert state_file(backend).read_bytes() == before


def test_a_refusal_leaves_the_state_as_it_is(tickover, backend):
    before = state_file(backend).read_bytes()
    for words in (["delete", urn("a")], ["delete", urn("d")], ["rename", urn("a"), "b"], ["taint", urn("x")]):
        assert tickover("state", *words, "-s", "dev", "--yes").code == 1
    assert state_file(backend).read_bytes() == before


def test_urns_or_all_but_not_neither_and_not_both(tickover, backend):
    assert tickover("state", "delete", "-s", "dev", "--yes").code == 2
    assert tickover("state", "unprotect", urn("d"), "--all", "-s", "dev", "--yes").code == 2


# --- each command ----------------------------------------------------------------------------------------


def test_delete_keeps_a_backup_and_tells(tickover, backend):
    before = state_file(backend).read_bytes()
    ended = tickover("state", "delete", urn("b"), "-s", "dev", "--yes", "--json")
    assert ended.json == {"stack": "dev", "removed": [urn("b")], "unprotected": []}
    assert names(backend) == ["demo-dev", "default", "a", "d"]
    assert state_file(backend).with_name("dev.json.bak").read_bytes() == before


def test_delete_all_by_force(tickover, backend):
    assert tickover("state", "rm", "--all", "-s", "dev", "--yes").code == 1
    assert tickover("state", "rm", "--all", "--force", "-s", "dev", "--yes").code == 0
    assert names(backend) == []


def test_rename_and_ls(tickover, backend):
    assert tickover("state", "rename", urn("a"), "new", "-s", "dev", "--yes").code == 0
    listed = tickover("state", "ls", "-s", "dev").out.splitlines()
    assert urn("new") in listed
    assert urn("a") not in listed


def test_protect_and_unprotect(tickover, backend):
    assert tickover("state", "protect", urn("a"), "-s", "dev", "--yes", "--json").json["changed"] == [
        urn("a")
    ]
    assert tickover("state", "unprotect", "--all", "-s", "dev", "--yes").code == 0
    # Nothing is left to change, so nothing is asked.
    assert tickover("state", "unprotect", "--all", "-s", "dev").code == 0


def test_taint_makes_a_file_of_version_4(tickover, backend):
    assert tickover("state", "taint", urn("a"), urn("b"), "-s", "dev", "--yes").code == 0
    document = json.loads(state_file(backend).read_text())
    assert (document["version"], document["features"]) == (4, ["taint"])
    assert tickover("state", "untaint", "--all", "-s", "dev", "--yes").code == 0
    exported = tickover("stack", "export", "-s", "dev").json
    assert not any("taint" in r for r in exported["deployment"]["resources"])


def test_repair_of_a_sound_state_does_nothing(tickover, backend):
    before = state_file(backend).read_bytes()
    assert "nothing to repair" in tickover("state", "repair", "-s", "dev").out
    assert state_file(backend).read_bytes() == before


def damage(backend: FileBackend, name: str) -> None:
    document = json.loads(state_file(backend).read_text())
    latest = document["checkpoint"]["latest"]
    latest["resources"] = [r for r in latest["resources"] if not r["urn"].endswith(f"::{name}")]
    state_file(backend).write_text(json.dumps(document))


def test_repair_mends_what_no_other_command_would_load(tickover, backend):
    damage(backend, "a")
    assert tickover("state", "ls", "-s", "dev").code == 1
    ended = tickover("state", "repair", "-s", "dev", "--yes", "--json")
    assert ended.json["dropped"] == [{"urn": urn("b"), "kind": "dependency", "target": urn("a")}]
    assert names(backend) == ["demo-dev", "default", "b", "d"]


def test_repair_of_what_is_beyond_it_changes_nothing(tickover, backend):
    damage(backend, "default")
    before = state_file(backend).read_bytes()
    ended = tickover("state", "repair", "-s", "dev", "--yes")
    assert ended.code == 1
    assert "stack export" in ended.err
    assert state_file(backend).read_bytes() == before


def test_upgrade_has_nothing_to_do(tickover, backend):
    assert "nothing to do" in tickover("state", "upgrade", "--yes").out


# --- move ------------------------------------------------------------------------------------------------


def test_move_puts_secrets_under_the_other_stacks_key(tickover, backend):
    backend.save("demo", "prod", Deployment(), keyring())
    ended = tickover(
        "state", "move", "--source", "dev", "--dest", "prod", urn("b"), urn("a"), "--yes", "--json"
    )
    assert list(ended.json["moved"]) == [urn("a"), urn("b")]
    assert names(backend) == ["demo-dev", "default", "d"]
    assert names(backend, "prod") == ["demo-prod", "default", "a", "b"]
    moved = backend.load("demo", "prod", keyring()).deployment
    assert moved.resources[2].inputs == {"key": Secret("hunter2")}
    assert "hunter2" not in state_file(backend, "prod").read_text()
    assert moved.secrets_provider != backend.load("demo", "dev", keyring()).deployment.secrets_provider


def test_a_move_into_itself_and_one_without_stacks(tickover, backend):
    assert tickover("state", "move", "--source", "dev", "--dest", "dev", urn("a"), "--yes").code == 2
    assert tickover("state", "move", urn("a"), "--yes").code == 2
    words = ("state", "move", "--source", "dev", "--dest", "organization/nix/dev", urn("a"), "--yes")
    assert tickover(*words).code == 6


def test_a_source_that_cannot_be_saved_puts_the_destination_back(tickover, backend, monkeypatch):
    backend.save("demo", "prod", Deployment(), keyring())
    real = FileBackend.save

    def save(self, project, stack, *rest, **named):
        if stack == "dev":
            raise TickoverError("disk-full", "Disk is full")
        return real(self, project, stack, *rest, **named)

    monkeypatch.setattr(FileBackend, "save", save)
    assert tickover("state", "move", "--source", "dev", "--dest", "prod", urn("b"), "--yes").code == 1
    assert names(backend, "prod") == []
    assert "b" in names(backend)


# --- edit ------------------------------------------------------------------------------------------------


def editor(tickover: CommandLine, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    script = tickover.root / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        f"p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text().replace({old!r}, {new!r}))\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")


def test_an_edited_text_becomes_the_state(tickover, backend, monkeypatch):
    editor(tickover, monkeypatch, '"id-b"', '"another"')
    assert tickover("state", "edit", "-s", "dev", "--yes").code == 0
    b = next(r for r in backend.load("demo", "dev", keyring()).deployment.resources if r.urn == urn("b"))
    assert b.id == "another"


def test_an_unsound_text_is_kept_and_named(tickover, backend, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = state_file(backend).read_bytes()
    editor(tickover, monkeypatch, '"dependencies"', '"dependencies": ["urn:pulumi:dev::demo::x::y"], "was"')
    ended = tickover("state", "edit", "-s", "dev", "--yes")
    assert ended.code == 2
    (kept,) = tmp_path.glob("state-dev-*.json")
    assert kept.name in ended.err.replace("\n", "")
    assert state_file(backend).read_bytes() == before
    kept.unlink()
    editor(tickover, monkeypatch, "{", "")
    assert tickover("state", "edit", "-s", "dev", "--yes").code != 0
    assert len(list(tmp_path.glob("state-dev-*.json"))) == 1


def test_an_edit_needs_an_editor_and_a_change(tickover, backend, monkeypatch):
    editor(tickover, monkeypatch, "nowhere in it", "")
    assert tickover("state", "edit", "-s", "dev", "--json").json == {"stack": "dev", "changed": False}
    monkeypatch.delenv("EDITOR")
    assert tickover("state", "edit", "-s", "dev", "--yes").code == 2


# --- stack: name, passphrase, selection -------------------------------------------------------------------


def test_a_renamed_stack_keeps_history_tags_config_and_secrets(tickover, backend):
    backend.record_update("demo", "dev", UpdateRecord("update", 1, 2, "succeeded"))
    assert tickover("stack", "tag", "set", "env", "test", "-s", "dev").code == 0
    assert tickover("config", "set", "k", "hush", "--secret", "-s", "dev").code == 0
    assert tickover("stack", "rename", "staging", "-s", "dev").code == 0
    assert names(backend, "staging")[0] == "demo-staging"
    assert tickover("stack", "tag", "get", "env").out == "test\n", "the renamed one is selected"
    assert len(tickover("stack", "history", "--json").json["updates"]) == 1
    assert tickover("config", "get", "k", "--show-secrets").out == "hush\n"
    assert tickover("stack", "output", "token", "--show-secrets").out == "hunter2\n"
    assert not backend.exists("demo", "dev")
    assert tickover("stack", "export", "-s", "dev").code == 6


def test_a_name_that_is_taken_is_refused(tickover, backend):
    backend.save("demo", "prod", Deployment(), keyring())
    assert tickover("stack", "rename", "prod", "-s", "dev").code == 1
    assert tickover("stack", "rename", "a b", "-s", "dev").code == 2
    assert tickover("stack", "rename", "dev", "-s", "dev").code == 2
    assert names(backend)[0] == "demo-dev"


def new_passphrase(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def change(tickover: CommandLine):
    return tickover("stack", "change-secrets-provider", "passphrase", "-s", "dev")


def secrets_now(tickover: CommandLine) -> tuple[str, str]:
    config = tickover("config", "get", "k", "--show-secrets", "-s", "dev")
    return config.out, tickover("stack", "output", "token", "--show-secrets", "-s", "dev").out


def test_a_new_passphrase_opens_config_and_state_and_the_old_one_nothing(tickover, backend, monkeypatch):
    tickover("config", "set", "k", "hush", "--secret", "-s", "dev")
    file = tickover.root / "stacks/Pulumi.dev.yaml"
    file.write_text("# kept\n" + file.read_text())
    new_passphrase(monkeypatch, "battery staple\n")
    ended = change(tickover)
    assert ended.code == 0
    assert "battery" not in ended.out + ended.err
    assert change_is_refused(tickover, monkeypatch)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "battery staple")
    assert secrets_now(tickover) == ("hush\n", "hunter2\n")
    assert file.read_text().startswith("# kept\n")
    assert names(backend, passphrase="battery staple")[0] == "demo-dev"


def change_is_refused(tickover: CommandLine, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With the old passphrase in the environment, and a third as the new one."""
    new_passphrase(monkeypatch, "third\n")
    return change(tickover).code == 3


class KilledError(BaseException):
    """As sudden as a kill: nothing after it runs."""


@pytest.mark.parametrize("target", ["save", "write_atomic"])
def test_a_change_killed_before_either_write_loses_nothing(tickover, backend, monkeypatch, target):
    tickover("config", "set", "k", "hush", "--secret", "-s", "dev")
    new_passphrase(monkeypatch, "battery staple\n")

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(*((FileBackend, "save") if target == "save" else (recrypt, "write_atomic")), killed)
        with pytest.raises(KilledError):
            change(tickover)
    # What was written opens with the new one, what was not with the old one.
    assert tickover("config", "get", "k", "--show-secrets", "-s", "dev").out == "hush\n"
    assert names(backend, passphrase="correct horse" if target == "save" else "battery staple")
    new_passphrase(monkeypatch, "battery staple\n")
    assert change(tickover).code == 0
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "battery staple")
    assert secrets_now(tickover) == ("hush\n", "hunter2\n")


def test_other_providers_and_empty_passphrases_are_refused(tickover, backend, monkeypatch):
    assert tickover("stack", "change-secrets-provider", "awskms://x", "-s", "dev").code == 2
    new_passphrase(monkeypatch, "\n")
    assert change(tickover).code == 2


def test_unselect(tickover, backend):
    tickover("stack", "select", "dev")
    assert tickover("stack", "unselect").code == 0
    assert tickover("stack", "output").code == 2


# --- stack: tags, export, import, output, ls, history, graph ---------------------------------------------


def test_tags_are_kept_in_the_clis_file(tickover, backend):
    assert tickover("stack", "tag", "set", "env", "prod", "-s", "dev").code == 0
    file = backend.root / ".pulumi/stacks/demo/dev.pulumi-tags"
    assert json.loads(file.read_text()) == {"version": 1, "tags": {"env": "prod"}}
    assert tickover("stack", "tag", "ls", "-s", "dev", "--json").json == {"env": "prod"}
    assert tickover("stack", "ls", "--tag", "env=prod", "--json").json["stacks"][0]["name"] == "dev"
    assert tickover("stack", "ls", "--tag", "env=test", "--json").json["stacks"] == []
    assert tickover("stack", "tag", "get", "nix", "-s", "dev").code == 1
    assert tickover("stack", "tag", "rm", "env", "-s", "dev").code == 0
    assert not file.exists()


def test_tags_that_cannot_be_read_are_named(tickover, backend):
    file = backend.root / ".pulumi/stacks/demo/dev.pulumi-tags"
    file.write_text('{"version": 9}')
    ended = tickover("stack", "tag", "ls", "-s", "dev")
    assert ended.code == 1
    assert "dev.pulumi-tags" in ended.err.replace("\n", "")


def test_an_earlier_version_is_exported(tickover, backend):
    backend.record_update("demo", "dev", UpdateRecord("update", 1, 2, "succeeded"))
    backend.save("demo", "dev", deployment(), keyring())
    backend.record_update("demo", "dev", UpdateRecord("update", 3, 4, "succeeded"))
    first = tickover("stack", "export", "-s", "dev", "--version", "1").json["deployment"]["resources"]
    second = tickover("stack", "export", "-s", "dev", "--version", "2").json["deployment"]["resources"]
    assert (len(first), len(second)) == (5, 2)
    assert tickover("stack", "export", "-s", "dev", "--version", "3").code == 2
    versions = [u["version"] for u in tickover("stack", "history", "-s", "dev", "--json").json["updates"]]
    assert versions == [2, 1]
    page = tickover("stack", "history", "-s", "dev", "--json", "--page", "2", "--page-size", "1").json
    assert [u["version"] for u in page["updates"]] == [1]


def test_history_shows_secrets_only_when_asked(tickover, backend):
    tickover("config", "set", "k", "hush", "--secret", "-s", "dev")
    tickover("config", "set", "plain", "v", "-s", "dev")
    config = {"demo:plain": "v", "demo:k": {"secure": ciphertext(tickover)}}
    backend.record_update("demo", "dev", UpdateRecord("update", 1, 2, "succeeded", config=config))
    hidden = tickover("stack", "history", "-s", "dev", "--json").json["updates"][0]["config"]
    assert hidden == {"demo:k": {"secret": True}, "demo:plain": {"secret": False, "value": "v"}}
    shown = tickover("stack", "history", "-s", "dev", "--json", "--show-secrets").json["updates"][0]["config"]
    assert shown["demo:k"] == {"secret": True, "value": "hush"}


def ciphertext(tickover: CommandLine) -> str:
    text = (tickover.root / "stacks/Pulumi.dev.yaml").read_text()
    return next(line.split()[1] for line in text.splitlines() if "secure:" in line)


def test_an_unsound_import_needs_force(tickover, backend, tmp_path):
    document = tickover("stack", "export", "-s", "dev").json
    document["deployment"]["resources"] = document["deployment"]["resources"][2:]
    file = tmp_path / "unsound.json"
    file.write_text(json.dumps(document))
    before = state_file(backend).read_bytes()
    assert tickover("stack", "import", "-s", "dev", "--file", str(file)).code == 2
    assert state_file(backend).read_bytes() == before
    ended = tickover("stack", "import", "-s", "dev", "--file", str(file), "--force")
    assert ended.code == 0
    assert "warning" in ended.err
    assert len(json.loads(state_file(backend).read_text())["checkpoint"]["latest"]["resources"]) == 3


def test_outputs_for_a_shell(tickover, backend):
    shown = tickover("stack", "output", "--shell", "-s", "dev")
    assert shown.out == "token='[secret]'\nurl='http://x y'\n"
    one = tickover("stack", "output", "token", "--shell", "--show-secrets", "-s", "dev")
    assert one.out == "token=hunter2\n"
    assert tickover("stack", "output", "nix", "--shell", "-s", "dev").code == 1
    assert tickover("stack", "output", "--shell", "--json", "-s", "dev").code == 2


def test_stacks_of_every_project(tickover, backend):
    backend.save("another", "dev", Deployment(), keyring())
    listed = tickover("stack", "ls", "--all", "--json").json["stacks"]
    assert [(s["project"], s["name"]) for s in listed] == [("another", "dev"), ("demo", "dev")]


def test_the_graph_is_written(tickover, backend, tmp_path):
    file = tmp_path / "graph.dot"
    assert tickover("stack", "graph", str(file), "-s", "dev").code == 0
    assert file.read_text().startswith("strict digraph {")
    assert ROOT in file.read_text()

"""The command line: stacks, config, mistakes, exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli_project import CommandLine
from tickover.commands import stacks
from tickover.commands.session import Session
from tickover.engine.backend import open_backend
from tickover.engine.project import load_project
from tickover.engine.secrets import Keyring
from tickover.engine.state import Deployment, ResourceState
from tickover.engine.values import Secret

STACK_URN = "urn:pulumi:dev::demo::pulumi:pulumi:Stack::demo-dev"


@pytest.fixture
def tickover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(tmp_path / "demo", monkeypatch, capsys)


def deployed(root: Path) -> None:
    """A state of dev with outputs, one of them secret."""
    project = load_project(root)
    outputs = {
        "urls": {"chat": "http://127.0.0.1:1/fn/chat-dev", "draw": "http://127.0.0.1:1/fn/draw-dev"},
        "models": {"chat": "smollm2"},
        "token": Secret("hunter2"),
    }
    stack = ResourceState(STACK_URN, "pulumi:pulumi:Stack", custom=False, outputs=outputs)
    backend = open_backend(project, {})
    backend.save("demo", "dev", Deployment((stack,)), Keyring(lambda: "correct horse"))


# --- which stack ------------------------------------------------------------------------------------------


def test_without_a_choice_the_stacks_are_listed(tickover: CommandLine) -> None:
    ended = tickover("stack", "output")
    assert ended.code == 2
    assert "dev, prod" in ended.err


def test_flag_before_environment_before_selection(
    tickover: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickover("stack", "select", "prod")
    assert tickover("config", "get", "name").out == "prod\n"
    monkeypatch.setenv("PULUMI_STACK", "dev")
    assert tickover("config", "get", "name").out == "dev\n"
    assert tickover("config", "get", "name", "-s", "organization/demo/prod").out == "prod\n"


def test_the_only_stack_needs_no_choice(tickover: CommandLine) -> None:
    (tickover.root / "stacks/Pulumi.prod.yaml").unlink()
    assert tickover("config", "get", "name").out == "dev\n"


def test_the_selection_is_the_pulumi_clis_own_where_it_has_a_home(
    tickover: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    tickover("stack", "select", "dev")
    (file,) = (tmp_path / "home/workspaces").iterdir()
    assert file.name.startswith("demo-")
    assert file.name.endswith("-workspace.json")
    assert json.loads(file.read_text()) == {"stack": "dev"}


def test_an_unknown_stack_is_exit_6_with_the_nearest_name(tickover: CommandLine) -> None:
    for command in (["preview"], ["up", "--yes"], ["destroy", "--yes"], ["stack", "output"], ["cancel"]):
        ended = tickover(*command, "-s", "prd")
        assert ended.code == 6, command
        assert "Did you mean `prod`?" in ended.err


def test_a_folder_without_a_project_is_named(tickover: CommandLine, tmp_path: Path) -> None:
    ended = tickover("-C", str(tmp_path), "stack", "ls")
    assert ended.code == 2
    assert "Pulumi.yaml" in ended.err


# --- mistakes in the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["prevew"], "Did you mean 'preview'?"),
        (["stack", "outptu"], "Did you mean 'output'?"),
        (["up", "--yess"], "Did you mean --yes"),
        (["invoke"], "Missing argument"),
        (["preview", "--parallel", "many"], "--parallel"),
        (["-C", "/no/such/folder", "ps"], "/no/such/folder: No such file or directory."),
    ],
)
def test_a_mistake_is_exit_2_with_the_nearest_word(
    tickover: CommandLine, words: list[str], expected: str
) -> None:
    ended = tickover(*words)
    assert ended.code == 2
    assert expected in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("command", ["up", "destroy", "refresh"])
def test_nobody_to_ask_is_exit_2_before_anything_is_done(
    tickover: CommandLine, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for more in ((), ("--json",), ("--non-interactive",)):
        ended = tickover(command, "-s", "dev", *more)
        assert ended.code == 2
        assert "--yes" in ended.err
    assert not (tickover.root / ".tickover").exists()


def test_json_errors_are_json_on_stdout_and_text_on_stderr(tickover: CommandLine) -> None:
    ended = tickover("ps", "--json")
    assert ended.code == 1
    assert ended.json["error"]["code"] == "host-not-running"
    assert "    tickover host start\n" in ended.err


def test_a_bug_leaves_a_report_and_no_traceback(
    tickover: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(stacks, "ls", broken)
    ended = tickover("stack", "ls")
    assert ended.code == 255
    assert "This is a bug in tickover." in ended.err
    assert "Traceback" not in ended.err
    (report,) = (tickover.root / ".tickover/reports").iterdir()
    assert str(report) in ended.err
    assert "ZeroDivisionError: on purpose" in report.read_text()


def test_ctrl_c_is_exit_8(tickover: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(stacks, "ls", interrupted)
    assert tickover("stack", "ls").code == 8


def test_a_disk_that_refuses_is_no_bug(tickover: CommandLine) -> None:
    (tickover.root / ".tickover").write_text("a file where a folder must be")
    ended = tickover("stack", "select", "dev")
    assert ended.code == 1
    assert ".tickover" in ended.err
    assert "bug" not in ended.err


# --- stack … ------------------------------------------------------------------------------------------------


def test_outputs_are_masked_unless_asked_for(tickover: CommandLine) -> None:
    deployed(tickover.root)
    ended = tickover("stack", "output", "-s", "dev", "--json")
    assert ended.json["urls"]["chat"] == "http://127.0.0.1:1/fn/chat-dev"
    assert ended.json["models"] == {"chat": "smollm2"}
    assert ended.json["token"] == "[secret]"
    assert tickover("stack", "output", "token", "-s", "dev", "--show-secrets").out == "hunter2\n"
    assert "hunter2" not in tickover("stack", "output", "-s", "dev").out
    missing = tickover("stack", "output", "url", "-s", "dev")
    assert (missing.code, "models, token, urls" in missing.err) == (1, True)


def test_export_and_import_are_a_round_trip(tickover: CommandLine) -> None:
    deployed(tickover.root)
    exported = tickover("stack", "export", "-s", "dev")
    assert exported.json["version"] == 3
    assert "hunter2" not in exported.out
    assert "hunter2" in tickover("stack", "export", "-s", "dev", "--show-secrets").out
    file = tickover.root / "dev.json"
    assert tickover("stack", "export", "-s", "dev", "--file", str(file)).code == 0
    assert tickover("stack", "import", "-s", "dev", "--file", str(file)).code == 0
    assert tickover("stack", "output", "-s", "dev", "--show-secrets", "--json").json["token"] == "hunter2"


def test_an_import_of_another_stack_is_refused(tickover: CommandLine) -> None:
    deployed(tickover.root)
    file = tickover.root / "dev.json"
    tickover("stack", "export", "-s", "dev", "--file", str(file))
    ended = tickover("stack", "import", "-s", "prod", "--file", str(file), "--yes")
    assert ended.code == 2
    assert STACK_URN in ended.err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99, "deployment": {}}'])
def test_an_import_that_is_no_deployment_is_refused(tickover: CommandLine, text: str) -> None:
    file = tickover.root / "x.json"
    file.write_text(text)
    ended = tickover("stack", "import", "-s", "dev", "--file", str(file), "--yes")
    assert ended.code in (1, 2)
    assert "bug" not in ended.err


def test_init_list_and_forget(tickover: CommandLine) -> None:
    assert tickover("stack", "init", "new").code == 0
    listed = tickover("stack", "ls", "--json").json["stacks"]
    assert [(s["name"], s["current"]) for s in listed] == [("dev", False), ("new", True), ("prod", False)]
    assert tickover("stack", "init", "new").code == 1
    assert tickover("stack", "rm", "new", "--yes").code == 0
    assert [s["name"] for s in tickover("stack", "ls", "--json").json["stacks"]] == ["dev", "prod"]
    assert tickover("stack", "history", "-s", "dev", "--json").json == {"updates": []}


def test_a_stack_with_resources_is_not_forgotten(tickover: CommandLine) -> None:
    deployed(tickover.root)
    ended = tickover("stack", "rm", "dev", "--yes")
    assert ended.code == 1
    assert "tickover destroy -s dev" in ended.err
    assert tickover("stack", "rm", "dev", "--yes", "--force").code == 0


def test_a_held_lock_says_who_and_cancel_breaks_it(tickover: CommandLine) -> None:
    deployed(tickover.root)
    backend = Session().backend
    with backend.lock("demo", "dev", "up"):
        ended = tickover("stack", "rm", "dev", "--yes", "--force")
        assert ended.code == 1
        assert "running `up`" in ended.err
        assert "tickover cancel" in ended.err
        assert tickover("cancel", "-s", "dev").code == 2
        assert tickover("cancel", "-s", "dev", "--yes").code == 0
        assert tickover("cancel", "-s", "dev", "--yes").out == "Nobody holds the lock of dev.\n"
        assert tickover("stack", "rm", "dev", "--yes", "--force").code == 0


# --- config … ---------------------------------------------------------------------------------------------


def test_config_values_and_secrets(tickover: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tickover("config", "set", "-s", "dev", "a", "1").code == 0
    assert tickover("config", "get", "-s", "dev", "a").out == "1\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2\n"))
    assert tickover("config", "set", "-s", "dev", "--secret", "password").code == 0
    assert "hunter2" not in (tickover.root / "stacks/Pulumi.dev.yaml").read_text()
    assert tickover("config", "get", "-s", "dev", "password").out == "[secret]\n"
    assert tickover("config", "get", "-s", "dev", "password", "--json").json == {
        "key": "password",
        "value": "[secret]",
        "secret": True,
    }
    assert tickover("config", "get", "-s", "dev", "password", "--show-secrets").out == "hunter2\n"
    assert tickover("config", "rm", "-s", "dev", "a").code == 0
    assert tickover("config", "get", "-s", "dev", "a").code == 2


# --- services ---------------------------------------------------------------------------------------------


def test_an_unknown_service_gets_the_nearest_name(tickover: CommandLine) -> None:
    deployed(tickover.root)
    ended = tickover("chat", "chatt", "hello", "-s", "dev")
    assert ended.code == 2
    assert "Did you mean `chat`?" in ended.err
    assert "chat, draw" in tickover("wake", "-s", "dev").err
    assert "tickover up -s prod" in tickover("chat", "chat", "hello", "-s", "prod").err


def test_a_service_that_cannot_be_reached_is_no_bug(tickover: CommandLine) -> None:
    deployed(tickover.root)
    for words in (["invoke", "chat", "/health"], ["chat", "chat", "hello"]):
        ended = tickover(*words, "-s", "dev")
        assert ended.code == 1
        assert "http://127.0.0.1:1/fn/chat-dev" in ended.err
        assert "tickover host status" in ended.err


# --- help ---------------------------------------------------------------------------------------------------


def test_help_loads_neither_engine_nor_terminal_library() -> None:
    code = (
        "import sys; from tickover import cli; cli.main(['--help']);"
        "heavy = {'pulumi', 'rich', 'grpc', 'networkx', 'pydantic', 'requests', 'yaml', 'asyncio'};"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "preview" in done.stdout

"""The unmodified Pulumi SDK, run by our engine: programs, config, output and failures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.engine_scripted import Stack
from tickover.engine.events import Diagnostic, ProgramOutput
from tickover.engine.provider import Severity
from tickover.errors import Exit


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


def errors(stack):
    return [e.message for e in stack.events if isinstance(e, Diagnostic) and e.severity is Severity.ERROR]


def test_what_a_program_prints_is_an_event(stack, capsys):
    stack.preview('print("one")\nprint("two")')
    assert [e.line for e in stack.events if isinstance(e, ProgramOutput)] == ["one", "two"]
    assert capsys.readouterr().out == ""


def test_config_and_its_secrets_reach_the_program(stack):
    stack.config = {"demo:size": "3", "demo:list": ["x"]}
    outcome = stack.preview(
        'c = pulumi.Config()\npulumi.export("got", [c.require_int("size"), c.require_object("list")])'
    )
    assert outcome.outputs == {"got": [3, ["x"]]}


def test_missing_config_is_an_error_that_names_the_key(stack):
    assert stack.preview('pulumi.Config().require("size")').result == "failed"
    assert "demo:size" in errors(stack)[0]


def test_an_exception_is_one_error_with_the_users_own_line(stack):
    outcome = stack.preview('Thing("a")\nraise ValueError("no such thing")')
    assert outcome.exit_code is not Exit.OK
    (message,) = errors(stack)
    assert "ValueError: no such thing" in message
    assert "__main__.py:" in message
    assert "site-packages" not in message


def test_an_exception_in_an_apply_is_reported_too(stack):
    stack.preview("pulumi.Output.from_input(0).apply(lambda n: 1 / n)")
    assert "ZeroDivisionError" in errors(stack)[0]


def test_two_resources_of_one_name_are_refused(stack):
    assert stack.preview('Thing("a")\nThing("a")').result == "failed"
    assert "'a'" in errors(stack)[0]


def test_log_lines_keep_their_severity(stack):
    stack.preview('pulumi.log.warn("careful")\npulumi.log.debug("nobody hears")')
    said = [(e.severity, e.message) for e in stack.events if isinstance(e, Diagnostic)]
    assert said == [(Severity.WARNING, "careful")]


def test_the_dry_run_and_the_apply_import_the_programs_modules_anew(stack):
    Path(stack.root, "counted.py").write_text("seen = []\n")
    outcome = stack.up('import counted\ncounted.seen.append(1)\npulumi.export("n", len(counted.seen))')
    assert outcome.outputs == {"n": 1}


def test_the_process_is_left_as_it_was(stack):
    before = (os.getcwd(), list(sys.path), sys.stdout, "left_behind" in sys.modules)
    Path(stack.root, "left_behind.py").write_text("")
    stack.up('import left_behind, os\nopen(os.path.join(os.getcwd(), "here"), "w").close()')
    assert (os.getcwd(), list(sys.path), sys.stdout, "left_behind" in sys.modules) == before
    assert Path(stack.root, "here").exists()


def test_a_hundred_resources_are_planned_and_made(stack):
    assert stack.up('for i in range(100):\n    Thing(f"t{i}", size=i)').result == "succeeded"
    assert len(stack.names()) == 100

"""Secrets on their whole way: never in clear in the state, the journal, an event or an error."""

from __future__ import annotations

import pytest

from tests.support.engine_scripted import Stack, name_of
from tickover.engine.journal import Journal
from tickover.engine.provider import CheckFailure, InitFailed
from tickover.engine.values import Secret, contains_secret
from tickover.errors import TickoverError

WORD = "open sesame 4711"
PROGRAM = f"""
a = Thing("a", key=pulumi.Output.secret("{WORD}"), size={{size}})
b = Thing("b", nested={{{{"deep": [a.key]}}}}, of=a.token)
pulumi.export("key", a.key)
pulumi.export("plain", a.size)
"""


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


def every_file(stack):
    return "\n".join(p.read_text(errors="replace") for p in (stack.root / "state").rglob("*") if p.is_file())


def test_inputs_outputs_and_stack_outputs_stay_secret(stack):
    outcome = stack.up(PROGRAM.format(size=1))
    assert outcome.result == "succeeded" and outcome.outputs["key"] == Secret(WORD)
    assert WORD not in every_file(stack) and WORD not in repr(stack.events) + repr(outcome)
    by_name = {name_of(r.urn): r for r in stack.deployment().resources}
    assert by_name["a"].inputs["key"] == by_name["a"].outputs["key"] == Secret(WORD)
    assert contains_secret(by_name["b"].inputs["nested"])
    assert stack.preview().plan.has_changes is False


def test_the_journal_has_no_secret_in_clear(stack, monkeypatch):
    lines = []
    real = Journal._write
    monkeypatch.setattr(Journal, "_write", lambda self, line: (lines.append(repr(line)), real(self, line)))
    stack.up(PROGRAM.format(size=1))
    stack.up(PROGRAM.format(size=2))
    text = "".join(lines)
    assert "ciphertext" in text and WORD not in text


def test_what_the_provider_says_is_secret_if_the_program_says_so(stack):
    program = 'a = Thing("a", opts=Opts(additional_secret_outputs=["token"]))\npulumi.export("t", a.token)'
    outcome = stack.up(program)
    assert outcome.outputs["t"] == Secret("token of a-1") and "token of a-1" not in every_file(stack)
    stack.world.things["", "a-1"]["token"] = "another token"
    stack.refresh()
    assert "another token" not in every_file(stack)


def test_an_input_that_becomes_secret_is_one_in_the_state_although_nothing_changes(stack):
    stack.up(f'Thing("a", key="{WORD}")')
    assert WORD in stack.state_text()
    stack.world.calls.clear()
    assert stack.up(f'Thing("a", key=pulumi.Output.secret("{WORD}"))').result == "succeeded"
    assert stack.world.effects() in ([], ["update a"]) and WORD not in stack.state_text()


def test_a_secret_of_the_config_reaches_the_default_provider_and_no_file(stack):
    from tickover.engine.project import load_project
    from tickover.engine.stackconfig import load_stack_config, set_value

    stack.request()
    project = load_project(stack.root)
    config = load_stack_config(project, "dev")
    set_value(project, config, "test:region", WORD, stack.keyring(), secret=True)
    text = (stack.root / "Pulumi.dev.yaml").read_text()
    stack.write('Thing("a")')
    request = stack.request
    stack.request = lambda **k: (request(**k), (stack.root / "Pulumi.dev.yaml").write_text(text))[0]
    assert stack.up().result == "succeeded"
    assert WORD not in every_file(stack) and next(iter(stack.world.things))[0] == WORD


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"bad key {WORD!r}"),
        TickoverError("refused", "Refused", f"The key {WORD} is not known."),
        InitFailed("a-1", {"key": WORD}, (f"not ready with {WORD}",)),
    ],
)
def test_an_error_that_tells_a_secret_is_blotted(stack, error):
    async def fail():
        raise error

    stack.world.before["create a"] = fail
    outcome = stack.up(PROGRAM.format(size=1))
    said = repr(stack.events) + "".join(outcome.diagnostics)
    assert outcome.result == "failed" and "[secret]" in said and WORD not in said
    assert WORD not in every_file(stack)


def test_a_check_failure_that_tells_a_secret_is_blotted(stack):
    stack.world.checks["a"] = (CheckFailure("key", f"{WORD} is too short."),)
    outcome = stack.preview(PROGRAM.format(size=1))
    assert "[secret] is too short" in outcome.diagnostics[0] and WORD not in repr(stack.events)

"""The unmodified Pulumi SDK against our monitor: what programs use of it."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.support.engine_scripted import Stack, name_of
from tickover.engine.events import Diagnostic, ProgramOutput
from tickover.engine.provider import Severity
from tickover.engine.values import UNKNOWN, Archive, Asset, Secret
from tickover.errors import Exit


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


def inputs(stack, name):
    (found,) = [r for r in stack.deployment().resources if name_of(r.urn) == name]
    return {k: v for k, v in found.inputs.items() if v is not None}


def up(stack, program):
    outcome = stack.up(textwrap.dedent(program))
    assert outcome.result == "succeeded", outcome.diagnostics
    return outcome


def test_outputs_are_joined_applied_and_nested(stack):
    outcome = up(
        stack,
        """
        a = Thing("a", size="2")
        both = pulumi.Output.all(a.token, a.size).apply(lambda v: f"{v[0]}/{v[1]}")
        named = pulumi.Output.all(t=a.token).apply(lambda v: v["t"])
        Thing("b", nested={"list": [both, {"deep": a.token}], "text": pulumi.Output.concat("x-", a.size)})
        pulumi.export("format", pulumi.Output.format("{0}!", named))
        pulumi.export("json", pulumi.Output.json_dumps({"n": a.size}))
        """,
    )
    assert inputs(stack, "b")["nested"] == {
        "list": ["token of a-1/2", {"deep": "token of a-1"}],
        "text": "x-2",
    }
    assert outcome.outputs == {"format": "token of a-1!", "json": '{"n": "2"}'}


def test_a_preview_knows_what_it_can_and_skips_applies_of_the_rest(stack):
    outcome = stack.preview(
        'a = Thing("a", size=1)\npulumi.export("t", a.token.apply(lambda t: 1 / 0))\npulumi.export("k", 7)\n'
    )
    assert outcome.exit_code is Exit.OK and outcome.outputs == {"t": UNKNOWN, "k": 7}


def test_assets_and_archives_arrive_as_such(stack):
    (stack.root / "file.txt").write_text("hello")
    up(
        stack,
        """
        Thing(
            "a",
            text=pulumi.StringAsset("inline"),
            file=pulumi.FileAsset("file.txt"),
            pack=pulumi.AssetArchive({"f": pulumi.FileAsset("file.txt")}),
        )
        """,
    )
    found = inputs(stack, "a")
    assert isinstance(found["text"], Asset) and found["text"].text == "inline"
    assert found["file"].path == "file.txt" and isinstance(found["pack"], Archive)
    assert stack.preview().plan.has_changes is False


def test_names_and_config(stack):
    stack.config = {"demo:size": 3, "demo:on": True, "demo:o": {"a": [1]}, "other:x": "y"}
    outcome = up(
        stack,
        """
        c = pulumi.Config()
        pulumi.export("names", [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])
        typed = [c.require_int("size"), c.get_bool("on"), c.require_object("o")]
        pulumi.export("config", [*typed, c.get("no", "d")])
        pulumi.export("other", pulumi.Config("other").require("x"))
        """,
    )
    assert outcome.outputs["names"] == ["demo", "dev", "organization"]
    assert outcome.outputs["config"] == [3, True, {"a": [1]}, "d"] and outcome.outputs["other"] == "y"


def test_logs_of_a_resource_carry_its_urn(stack):
    up(
        stack,
        'a = Thing("a")\npulumi.log.warn("mind this", a)\npulumi.log.info("fyi")\npulumi.log.debug("no")\n',
    )
    said = {
        (e.severity, e.message, name_of(e.urn) if e.urn else "")
        for e in stack.events
        if isinstance(e, Diagnostic)
    }
    assert (Severity.WARNING, "mind this", "a") in said and (Severity.INFO, "fyi", "") in said
    assert not any(message == "no" for _, message, _ in said)


def test_functions_of_a_provider_in_both_forms(stack):
    outcome = up(
        stack,
        """
        pulumi.export("plain", pulumi.runtime.invoke("test:index:echo", {"v": 1}).value)
        a = Thing("a")
        echoed = pulumi.runtime.invoke_output("test:index:echo", {"v": a.token})
        pulumi.export("output", echoed.apply(lambda r: r["v"]))
        """,
    )
    assert outcome.outputs == {"plain": {"v": 1}, "output": "token of a-1"}


def test_a_function_of_what_is_unknown_is_unknown(stack):
    outcome = stack.preview(
        'a = Thing("a")\n'
        'r = pulumi.runtime.invoke_output("test:index:echo", {"v": a.token})\n'
        'pulumi.export("v", r.apply(lambda r: r["v"] + 1))\n'
    )
    assert outcome.exit_code is Exit.OK, outcome.diagnostics
    assert outcome.outputs == {"v": UNKNOWN}


def test_an_async_program(stack):
    outcome = up(
        stack,
        """
        import asyncio

        async def main():
            await asyncio.sleep(0)
            a = Thing("a")
            return {"token": a.token}

        pulumi.run(main)
        """,
    )
    assert outcome.outputs == {"token": "token of a-1"}


def test_secrets_and_what_is_made_of_them(stack):
    outcome = up(
        stack,
        """
        s = pulumi.Output.secret("hush hush")
        a = Thing("a", key=s.apply(str.upper))
        pulumi.export("joined", pulumi.Output.all(a.key, 1).apply(lambda v: v[0]))
        pulumi.export("open", pulumi.Output.unsecret(s).apply(len))
        """,
    )
    assert outcome.outputs == {"joined": Secret("HUSH HUSH"), "open": 9}


def test_two_runs_in_one_process_do_not_see_each_other(stack, tmp_path):
    (stack.root / "helper.py").write_text("seen = []\n")
    program = "import os, helper\nhelper.seen.append(1)\nassert helper.seen == [1]\n"
    program += 'assert "LEAK" not in os.environ\nos.environ["LEAK"] = "1"\n'
    program += 'pulumi.export("c", pulumi.Config().get("c"))\n'
    stack.config = {"demo:c": "one"}
    assert stack.up(program).outputs == {"c": "one"}
    other = tmp_path / "other"
    other.mkdir()
    second = Stack(other)
    (other / "helper.py").write_text("seen = []\n")
    outcome = second.up(program)
    assert (outcome.result, outcome.outputs) == ("succeeded", {})  # what is None is not exported
    assert "helper" not in sys.modules


def test_a_program_that_ends_badly_does_not_disturb_the_next(stack):
    assert stack.up('Thing("a")\nraise SystemError("x")').result == "failed"
    assert stack.up('print("hi")\nThing("a")').result == "succeeded"
    assert [e.line for e in stack.events if isinstance(e, ProgramOutput)] == ["hi", "hi"]

"""preview, up, destroy and refresh on the command line, over operations that are played."""

from __future__ import annotations

import asyncio
import builtins
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support import cli_plans as plans
from tests.support.cli_project import CommandLine, Ended
from tickover.commands import deploy
from tickover.engine import operations
from tickover.engine.events import (
    Diagnostic,
    OperationFinished,
    PlanReady,
    StepFinished,
    StepStarted,
)
from tickover.engine.plan import Plan
from tickover.engine.provider import Severity
from tickover.errors import Exit, TickoverError

Confirm = Callable[[Plan], Awaitable[bool]]


class Engine:
    """Plays an operation: shows its plan, asks, and ends as told."""

    def __init__(self) -> None:
        self.plan = plans.mixed_plan()
        self.exit = Exit.OK
        self.error: TickoverError | None = None
        self.presses = 0
        self.requests: list[operations.Request] = []
        self.agreed: bool | None = None

    async def run(self, request: operations.Request, confirm: Confirm | None) -> operations.Outcome:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        request.on_event(Diagnostic(0.1, Severity.WARNING, "mind the gap"))
        request.on_event(PlanReady(0.2, self.plan))
        result, code = "succeeded", self.exit
        if confirm is not None and self.plan.has_changes:
            self.agreed = await confirm(self.plan)
            if not self.agreed:
                result, code = "cancelled", Exit.CANCELLED
        for _ in range(self.presses):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        request.on_event(OperationFinished(1.0, "up", result, self.plan.counts, {}))
        return operations.Outcome(self.plan, result, {}, code)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    played = Engine()

    async def preview(request: operations.Request) -> operations.Outcome:
        return await played.run(request, None)

    async def refresh(
        request: operations.Request, confirm: Confirm, preview_only: bool = False
    ) -> operations.Outcome:
        return await played.run(request, None if preview_only else confirm)

    monkeypatch.setattr(operations, "preview", preview)
    monkeypatch.setattr(operations, "up", played.run)
    monkeypatch.setattr(operations, "destroy", refresh)
    monkeypatch.setattr(operations, "refresh", refresh)
    return played


@pytest.fixture
def tickover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(tmp_path / "demo", monkeypatch, capsys)


def objects(ended: Ended) -> list[dict[str, object]]:
    return [json.loads(line) for line in ended.out.splitlines()]


def test_flags_reach_the_request(tickover: CommandLine, engine: Engine) -> None:
    pack = tickover.root / "pack"
    pack.mkdir()
    ended = tickover(
        "up", "-s", "dev", "-y", "--refresh", "--parallel", "3", "--policy-pack", "pack", "--color", "never"
    )
    assert ended.code == 0
    (request,) = engine.requests
    assert (request.stack, request.parallel, request.refresh) == ("dev", 3, True)
    assert request.policy_packs == (pack,)
    assert set(request.providers) == {"docker", "tickover"}


def test_a_preview_shows_the_plan_and_asks_nothing(tickover: CommandLine, engine: Engine) -> None:
    ended = tickover("preview", "-s", "dev")
    assert ended.code == 0
    assert "+- replace: Trigger chat-http" in ended.out
    assert "warning: mind the gap" in ended.out


def test_diff_shows_properties(tickover: CommandLine, engine: Engine) -> None:
    assert "~ cpu: 2" not in tickover("preview", "-s", "dev").out
    assert "~ cpu: 2 → 4" in tickover("preview", "-s", "dev", "--diff").out


def test_nothing_to_change_says_so(tickover: CommandLine, engine: Engine) -> None:
    engine.plan = plans.unchanged_plan()
    ended = tickover("up", "-s", "dev", "--yes", "--expect-no-changes")
    assert ended.code == 0
    assert "No changes: dev is as declared" in ended.out
    engine.plan = Plan("demo", "dev")
    assert "Nothing to delete" in tickover("destroy", "-s", "dev", "--yes").out
    assert "No drift" in tickover("refresh", "-s", "dev", "--yes").out


def test_destroy_forgets_the_stack_where_that_is_asked_for(tickover: CommandLine, engine: Engine) -> None:
    engine.plan = Plan("demo", "dev")
    assert tickover("stack", "init", "old").code == 0
    kept = tickover("destroy", "-s", "old", "--yes", "--preview-only", "--remove")
    assert kept.code == 0 and "forgotten" not in kept.out
    ended = tickover("destroy", "-s", "old", "--yes", "--remove", "--json")
    assert ended.code == 0 and "old is forgotten" in ended.err
    assert all(json.loads(line) for line in ended.out.splitlines())
    assert tickover("stack", "output", "-s", "old").code == 6


@pytest.mark.parametrize("command", ["preview", "up", "refresh"])
def test_changes_where_none_were_expected_are_exit_7_and_not_made(
    tickover: CommandLine, engine: Engine, command: str
) -> None:
    ended = tickover(command, "-s", "dev", "--expect-no-changes", *(["--yes"] * (command != "preview")))
    assert ended.code == 7
    assert engine.agreed is not True
    assert "4 changes" in ended.err


@pytest.mark.parametrize("code", [Exit.RESOURCE, Exit.POLICY, Exit.CONFIGURATION])
def test_the_engines_exit_code_is_the_commands(tickover: CommandLine, engine: Engine, code: Exit) -> None:
    engine.exit = code
    assert tickover("up", "-s", "dev", "--yes").code == code
    assert tickover("preview", "-s", "dev", "--json").json["errored"] is True


def test_preview_json_is_one_document(tickover: CommandLine, engine: Engine) -> None:
    document = tickover("preview", "-s", "dev", "--json").json
    assert document["has_changes"] is True
    assert document["counts"]["replace"] == 1
    assert document["diagnostics"][0] == {"severity": "warning", "message": "mind the gap", "urn": ""}
    assert document["policies"][0]["policy"] == "idle-billing"


def test_up_json_is_a_stream_that_begins_with_its_version(tickover: CommandLine, engine: Engine) -> None:
    lines = objects(tickover("up", "-s", "dev", "--yes", "--json"))
    assert (lines[0]["type"], lines[0]["operation"]) == ("version", "up")
    assert lines[-1]["type"] == "change_summary"


def test_json_into_a_file_beside_the_text(tickover: CommandLine, engine: Engine) -> None:
    ended = tickover("up", "-s", "dev", "--yes", "--json-into", "events.jsonl")
    assert "Summary" in ended.out
    lines = [json.loads(line) for line in (tickover.root / "events.jsonl").read_text().splitlines()]
    assert lines[0]["type"] == "version"


def test_an_error_ends_the_stream_once(tickover: CommandLine, engine: Engine) -> None:
    engine.error = TickoverError("stack-locked", "Stack is locked", "By ada.", exit_code=Exit.ERROR)
    ended = tickover("up", "-s", "dev", "--yes", "--json", "--json-into", "events.jsonl")
    assert [x["type"] for x in objects(ended)] == ["version", "error"]
    assert "Stack is locked" in ended.err
    kept = [json.loads(line) for line in (tickover.root / "events.jsonl").read_text().splitlines()]
    assert [x["type"] for x in kept] == ["version", "error"]


@pytest.mark.parametrize(
    ("answers", "agreed", "code"),
    [
        (["yes"], True, 0),
        (["what?", "details", "y"], True, 0),
        (["no"], False, 8),
        ([EOFError()], False, 8),
        ([KeyboardInterrupt()], False, 8),
    ],
)
def test_the_question(
    tickover: CommandLine,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[str | BaseException],
    agreed: bool,
    code: int,
) -> None:
    left = list(answers)

    def asked(prompt: str) -> str:
        answer = left.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(deploy, "require_terminal", lambda: None)
    monkeypatch.setattr(builtins, "input", asked)
    ended = tickover("up", "-s", "dev")
    assert (engine.agreed, ended.code, left) == (agreed, code, [])
    assert ("~ cpu: 2 → 4" in ended.out) == ("details" in answers)


def test_ctrl_c_reaches_the_engine_first_gently_then_at_once(tickover: CommandLine, engine: Engine) -> None:
    engine.presses = 2
    ended = tickover("up", "-s", "dev", "--yes")
    (request,) = engine.requests
    assert request.canceller.is_cancelled
    assert ended.err.index("Again to stop now") < ended.err.index("Stopping now")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_stopped_at_once_names_what_may_have_had_an_effect(
    tickover: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, begun = plans.first_plan().steps[:2]

    async def up(request: operations.Request, confirm: Confirm) -> operations.Outcome:
        for event in (StepStarted(0, done), StepStarted(0, begun), StepFinished(1, done, 1.0)):
            request.on_event(event)
        raise asyncio.CancelledError

    monkeypatch.setattr(operations, "up", up)
    ended = tickover("up", "-s", "dev", "--yes")
    assert ended.code == 8
    assert "  creating tickover:index:VllmService chat\n" in ended.err
    assert "pulumi:pulumi:Stack" not in ended.err
    assert "    tickover up -s dev --refresh\n" in ended.err


@pytest.mark.parametrize("flags", [["--policy-pack", "absent"], ["--policy-pack-config", "absent"]])
def test_a_path_that_is_not_there_is_named(tickover: CommandLine, engine: Engine, flags: list[str]) -> None:
    ended = tickover("preview", "-s", "dev", *flags)
    assert ended.code == 2
    assert "There is no absent." in ended.err
    assert not engine.requests

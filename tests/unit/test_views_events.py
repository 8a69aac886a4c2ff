"""The run as people and programs read it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from tests.support import cli_plans as plans
from tests.support.cli_golden import check_golden
from tests.support.schemas import validate
from tickover.engine.events import (
    Diagnostic,
    Event,
    OperationFinished,
    PhaseStarted,
    PlanReady,
    PolicyReported,
    ProgramOutput,
    StepFailed,
    StepFinished,
    StepPlanned,
    StepStarted,
)
from tickover.engine.plan import Op
from tickover.engine.provider import Severity
from tickover.engine.values import Secret
from tickover.errors import ConfigError, Exit, TickoverError
from tickover.views.errors import error_json, error_lines
from tickover.views.jsonlines import JsonLines
from tickover.views.live import Live
from tickover.views.narrator import Narrator
from tickover.views.plain import Plain
from tickover.views.terminal import Color, Look, clean, detect, seconds_text

FUNCTION = plans.step(Op.CREATE, "tickover:fc:Function", "chat")
POOL = plans.step(Op.CREATE, "tickover:fc:ProvisionConfig", "chat")


def a_run() -> list[Event]:
    plan = plans.first_plan()
    return [
        PhaseStarted(0.0, "planning"),
        ProgramOutput(0.2, "hello from the program\x1b[2J"),
        *(StepPlanned(0.5, s) for s in plan.steps),
        PolicyReported(0.6, plans.mixed_plan().violations[1]),
        PlanReady(0.7, plan),
        PhaseStarted(0.8, "applying"),
        StepStarted(1.0, FUNCTION),
        StepFinished(1.4, FUNCTION, 0.4),
        StepStarted(1.5, POOL),
        Diagnostic(2.0, Severity.INFO, "0 of 1 instances are up", POOL.urn, ephemeral=True),
        Diagnostic(3.0, Severity.WARNING, "the image has no digest", FUNCTION.urn),
        Diagnostic(3.0, Severity.WARNING, "the image has no digest", FUNCTION.urn),
        StepFailed(64.0, POOL, 62.5, "the command exited at once:\n  no such weights"),
        Diagnostic(64.0, Severity.ERROR, "the command exited at once:\n  no such weights", POOL.urn),
        OperationFinished(64.2, "up", "failed", {"create": 1}),
    ]


def test_a_run_as_steady_lines() -> None:
    out = io.StringIO()
    view = Plain(out, Narrator(Look()))
    for event in a_run():
        view.on_event(event)
    assert "\x1b" not in out.getvalue()
    check_golden("view_run_failed.txt", out.getvalue())


def test_a_run_that_worked_ends_with_outputs() -> None:
    narrator = Narrator(Look())
    done = OperationFinished(
        4.0, "up", "succeeded", {"create": 2, "same": 3}, {"urls": {"chat": "http://x"}, "key": Secret("k")}
    )
    check_golden("view_run_succeeded.txt", "\n".join(narrator.lines(done)) + "\n")


def test_a_run_as_json_lines() -> None:
    out = io.StringIO()
    view = JsonLines(out, lambda plan: None)
    for event in a_run():
        view.on_event(event)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    for line in lines:
        validate("events", line)
    assert [x["type"] for x in lines if x["type"] not in ("planned_change",)] == [
        "phase", "log", "policy", "plan", "phase", "apply_start", "apply_complete", "apply_start",
        "apply_progress", "diagnostic", "diagnostic", "apply_errored", "diagnostic", "outputs",
        "change_summary",
    ]  # fmt: skip
    assert all("at_seconds" in x for x in lines)
    assert "hunter2" not in out.getvalue()
    (errored,) = [x for x in lines if x["type"] == "apply_errored"]
    assert errored["duration_seconds"] == 62.5


def ticking(*times: float) -> Callable[[], float]:
    left = list(times)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_a_silent_run_gives_a_sign_of_life_with_the_providers_words() -> None:
    now = [0.0]
    out = io.StringIO()
    view = Plain(out, Narrator(Look()), clock=lambda: now[0])
    view.on_event(StepStarted(0.0, POOL))
    view.on_event(Diagnostic(5.0, Severity.INFO, "0 of 1 up", POOL.urn, ephemeral=True))
    now[0] = 10.0
    view.beat()
    assert out.getvalue() == ""
    now[0] = 130.0
    view.beat()
    assert out.getvalue() == " + still creating tickover:fc:ProvisionConfig chat (2m10s): 0 of 1 up\n"


def test_no_sign_of_life_while_a_person_reads_the_plan() -> None:
    now = [0.0]
    out = io.StringIO()
    view = Plain(out, Narrator(Look()), clock=lambda: now[0])
    view.on_event(PhaseStarted(0.0, "planning"))
    view.on_event(PlanReady(1.0, plans.unchanged_plan()))
    before = out.getvalue()
    now[0] = 500.0
    view.beat()
    assert out.getvalue() == before


def test_the_live_view_leaves_the_same_lines_behind_and_a_tree_with_durations() -> None:
    plain, live = io.StringIO(), io.StringIO()
    first, second = Plain(plain, Narrator(Look())), Live(live, Narrator(Look(is_live=True)))
    second.start()
    try:
        for event in a_run():
            first.on_event(event)
            second.on_event(event)
    finally:
        second.stop()
    kept = {line.rstrip() for line in live.getvalue().splitlines()}
    # What became of each step stands in the tree instead.
    said = {line for line in plain.getvalue().splitlines() if line and not line.startswith(" + created")}
    assert said <= kept
    assert any("Function" in line and "created (0.4s)" in line for line in kept)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("env", "color", "expected"),
    [
        ({"TERM": "xterm"}, Color.AUTO, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Color.AUTO, False),
        ({"TERM": "dumb"}, Color.AUTO, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Color.ALWAYS, True),
        ({"TERM": "xterm"}, Color.NEVER, False),
    ],
)
def test_colour_follows_flag_environment_and_terminal(
    env: dict[str, str], color: Color, expected: bool
) -> None:
    assert detect(Terminal(), env, color).color is expected


def test_a_pipe_gets_steady_text_of_80_columns() -> None:
    assert detect(io.StringIO(), {}) == Look(width=80, color=False, unicode=False, is_live=False)


def test_ci_with_a_terminal_is_not_redrawn() -> None:
    assert not detect(Terminal(), {"TERM": "xterm", "CI": "true"}).is_live


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (59.4, "59s"), (130, "2m10s"), (3725, "1h02m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_foreign_text_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[2Jb\x07\r\n\x9b1mc\t\x1b]0;title\x07d\x1bc") == "ab\nc\tdc"


def test_error_text() -> None:
    errors = (
        ConfigError("no-stack", "Which stack?", "The project has dev and prod.", hint="tickover stack ls"),
        TickoverError(
            "command-exited",
            "Command ended at once",
            "The command of chat-dev ended with code 1 before it answered. "
            "The last lines of its log say why; correct the command or the model path and run up again.\n"
            "  Traceback (most recent call last):\n  FileNotFoundError: /mnt/models/x",
            address="urn:pulumi:dev::app::tickover:fc:Function::chat",
            hint="tickover logs chat-dev\ntickover up -s dev",
            exit_code=Exit.RESOURCE,
        ),
    )
    text = "\n\n".join("\n".join(error_lines(e, Look())) for e in errors) + "\n"
    check_golden("view_errors.txt", text)


def test_error_json_has_code_and_exit_code() -> None:
    made = error_json(TickoverError("x-y", "Sum", "Detail.", exit_code=Exit.POLICY))["error"]
    assert (made["code"], made["exit_code"]) == ("x-y", 5)

"""The tree that a person watches, and what a run says where nobody does."""

from __future__ import annotations

import dataclasses
import io
import json
import re

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
    StepFailed,
    StepFinished,
    StepPlanned,
    StepStarted,
)
from tickover.engine.plan import Op, Plan, PolicyViolation, Step
from tickover.engine.provider import Severity
from tickover.engine.values import Secret
from tickover.views import policies
from tickover.views.jsonlines import JsonLines
from tickover.views.live import Live
from tickover.views.narrator import Narrator
from tickover.views.plain import Plain
from tickover.views.progress import Progress
from tickover.views.terminal import Look, write_lines
from tickover.views.ticker import HEARTBEAT_SECONDS, Elapsed, Ticker
from tickover.views.tree import rows

LOOK = Look()
KIND = "app:index:Thing"
GROUP = "app:index:Group"


def thing(name: str, op: Op = Op.CREATE, parent: str = "") -> Step:
    return plans.step(op, KIND, name, parent=parent or plans.urn(GROUP, "group"))


def group(op: Op = Op.CREATE) -> Step:
    return dataclasses.replace(plans.step(op, GROUP, "group", parent=plans.STACK), custom=False)


def stack(op: Op = Op.CREATE) -> Step:
    return dataclasses.replace(plans.step(op, "pulumi:pulumi:Stack", "app-dev", parent=""), custom=False)


def progress(*events: Event) -> Progress:
    made = Progress()
    for event in events:
        made.on_event(event)
    return made


def a_plan(*steps: Step) -> PlanReady:
    return PlanReady(1.0, Plan("app", "dev", (stack(), group(), *steps)))


# --- the tree ----------------------------------------------------------------------------------------------


def test_a_running_tree() -> None:
    replaced = [thing("r", op) for op in (Op.CREATE_REPLACEMENT, Op.REPLACE, Op.DELETE_REPLACED)]
    made = progress(
        a_plan(thing("a"), thing("b"), thing("c"), thing("d", Op.DELETE), *replaced),
        StepStarted(2.0, stack()),
        StepFinished(2.0, stack(), 0.0),
        StepStarted(2.0, group()),
        StepFinished(2.0, group(), 0.0),
        StepStarted(2.0, thing("a")),
        StepFinished(3.5, thing("a"), 1.5),
        StepStarted(3.0, thing("b")),
        Diagnostic(4.0, Severity.INFO, "0 of 2 are up\nmore", thing("b").urn, ephemeral=True),
        StepFailed(5.0, thing("d", Op.DELETE), 2.0, "is in use"),
        StepStarted(4.0, replaced[0]),
        StepFinished(6.0, replaced[0], 2.0),
        StepFinished(6.0, replaced[1], 0.0),
    )
    text = "\n".join(made.lines(LOOK, 133.0))
    check_golden("view_live_running.txt", text + "\n")
    assert "\x1b" not in text


def test_the_end_of_a_replacement_counts_both_halves() -> None:
    first, last = thing("r", Op.CREATE_REPLACEMENT), thing("r", Op.DELETE_REPLACED)
    made = progress(
        StepStarted(0.0, first),
        StepFinished(2.0, first, 2.0),
        StepStarted(5.0, last),
        StepFinished(6.0, last, 1.0),
    )
    assert "deleted the old (3.0s)" in made.lines(LOOK, 9.0)[1]


def test_quiet_steps_are_not_drawn() -> None:
    same = thing("same", Op.SAME)
    assert progress(StepStarted(1.0, same), StepFinished(1.0, same, 0.1)).is_empty


def test_steps_without_a_plan_before_them_are_drawn_too() -> None:
    assert "creating (2.0s)" in progress(StepStarted(1.0, thing("a"))).lines(LOOK, 3.0)[1]


@pytest.mark.parametrize("most", [4, 6, 10, 25])
def test_the_tree_fits_and_what_runs_or_failed_comes_first(most: int) -> None:
    steps = [thing(f"n{i:03}") for i in range(200)]
    made = progress(
        a_plan(*steps),
        *(e for s in steps[:100] for e in (StepStarted(2.0, s), StepFinished(3.0, s, 1.0))),
        StepStarted(5.0, steps[150]),
        StepFailed(6.0, steps[151], 1.0, "no"),
    )
    lines = made.lines(LOOK, 7.0, most)
    assert len(lines) <= most
    if most >= 6:
        assert any("n150" in line for line in lines)
        assert any("n151" in line for line in lines)
    assert re.search(r"… \d+ more: .*\d+ waiting", lines[-1])


def test_a_component_tells_how_many_are_done() -> None:
    steps = [thing("a"), thing("b"), thing("c")]
    made = progress(
        a_plan(*steps),
        *(StepStarted(2.0, s) for s in steps),
        StepFinished(4.0, steps[0], 2.0),
        StepFailed(5.0, steps[1], 3.0, "no"),
    )
    (line,) = [x for x in made.lines(LOOK, 12.0) if GROUP in x]
    assert "1 of 3, 1 failed (10s)" in line
    made.on_event(StepFinished(14.0, steps[2], 12.0))
    (line,) = [x for x in made.lines(LOOK, 500.0) if GROUP in x]
    assert "2 of 3, 1 failed (12s)" in line


def test_ten_thousand_resources_and_a_deep_chain_are_drawn() -> None:
    chain = [stack()]
    for i in range(1500):
        chain.append(thing(f"d{i}", parent=chain[-1].urn))
    assert len(progress(PlanReady(0.0, Plan("app", "dev", tuple(chain)))).lines(LOOK, 1.0)) == 1502
    many = [thing(f"n{i}") for i in range(10_000)]
    assert len(progress(a_plan(*many)).lines(LOOK, 1.0, 30)) <= 30


def test_the_live_region_says_how_far_planning_is() -> None:
    view = Live(io.StringIO(), Narrator(Look(is_live=True)), clock=lambda: 0.0)
    for event in (PhaseStarted(1.0, "planning"), StepPlanned(2.0, thing("a")), StepPlanned(2.0, thing("b"))):
        view._narrator.lines(event)
    assert view.drawn(5.0, 20) == ["   planning (4.0s), 2 resources so far"]


def test_a_tree_that_takes_long_to_draw_is_drawn_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now, drawings = [0.0], []

    def slow(*_: object) -> list[str]:
        drawings.append(now[0])
        now[0] += 0.1
        return []

    view = Live(io.StringIO(), Narrator(Look(is_live=True)), clock=lambda: now[0])
    monkeypatch.setattr(view, "drawn", slow)
    while now[0] < 10.0:
        view._current(20)
        now[0] += 0.125
    assert len(drawings) <= 6


def test_the_live_view_leaves_no_region_behind_and_the_whole_tree() -> None:
    out = io.StringIO()
    view = Live(out, Narrator(Look(is_live=True)))
    view.start()
    view.on_event(a_plan(thing("a")))
    view.on_event(StepStarted(2.0, thing("a")))
    view.on_event(StepFinished(3.0, thing("a"), 1.0))
    view.on_event(OperationFinished(4.0, "up", "succeeded", {"create": 1}))
    view.stop()
    assert "created (1.0s)" in out.getvalue()
    assert out.getvalue().count("up done in 4.0s") == 1


# --- lines -------------------------------------------------------------------------------------------------


def told(*events: Event, look: Look = LOOK, **options: object) -> str:
    narrator = Narrator(look, **options)  # type: ignore[arg-type]
    return "\n".join(line for event in events for line in narrator.lines(event))


def test_one_cause_that_hits_many_is_told_once() -> None:
    steps = [dataclasses.replace(thing(n), source_position="project:///__main__.py#7,1") for n in "abc"]
    text = told(
        *(
            StepFailed(2.0, s, 1.0, f"Create failed [{s.urn}]\nthe quota is used up\nask for more")
            for s in steps
        ),
        Diagnostic(2.0, Severity.ERROR, "the quota is used up", steps[0].urn),
        StepFailed(3.0, thing("d"), 1.0, "its name is taken"),
        OperationFinished(4.0, "up", "failed", {}),
    )
    check_golden("view_run_causes.txt", text + "\n")
    assert text.count("ask for more") == 1


def test_a_failing_resource_is_told_with_its_place_in_the_program() -> None:
    placed = dataclasses.replace(thing("a"), source_position="project:///app/__main__.py#12,4")
    assert "    at app/__main__.py:12" in told(StepFailed(2.0, placed, 1.0, "no"))
    checked = told(StepPlanned(1.0, placed), Diagnostic(2.0, Severity.ERROR, "size: too big", placed.urn))
    assert checked == "error: size: too big [a]\n    at app/__main__.py:12"


def test_what_a_refresh_takes_over_is_counted_though_nobody_did_it() -> None:
    text = told(OperationFinished(1.0, "refresh", "succeeded", {"update": 2, "delete": 1, "same": 3}))
    assert text.strip() == "refresh done in 1.0s: - 1 deleted, ~ 2 updated, 3 unchanged"


def test_an_error_told_before_its_step_failed_is_not_told_again() -> None:
    text = told(Diagnostic(1.0, Severity.ERROR, "no", thing("a").urn), StepFailed(1.0, thing("a"), 1.0, "no"))
    assert text.splitlines() == [
        "error: no [a]",
        f"error: creating {KIND} a failed (1.0s)",
        "    as said above",
    ]


def test_many_running_steps_do_not_fill_the_log() -> None:
    narrator = Narrator(LOOK)
    for i in range(50):
        narrator.lines(StepStarted(0.0, thing(f"n{i:02}")))
    beat = narrator.heartbeat(130.0)
    assert len(beat) == 11
    assert beat[0] == " + still creating app:index:Thing n00 (2m10s)"
    assert beat[-1] == "   and 40 more"


def test_a_silent_json_stream_gives_a_sign_of_life() -> None:
    now = [0.0]
    out = io.StringIO()
    view = JsonLines(out, lambda plan: None, clock=lambda: now[0])
    view.on_event(StepStarted(0.0, thing("a")))
    before = out.getvalue()
    now[0] = HEARTBEAT_SECONDS - 1
    view.beat()
    assert out.getvalue() == before
    now[0] = 130.0
    view.beat()
    said = json.loads(out.getvalue().splitlines()[-1])
    validate("events", said)
    assert (said["type"], said["running_seconds"], said["urn"]) == ("apply_progress", 130.0, thing("a").urn)
    view.on_event(StepFinished(131.0, thing("a"), 131.0))
    after = out.getvalue()
    now[0] = 500.0
    view.beat()
    assert out.getvalue() == after


def test_a_line_comes_at_least_every_half_minute() -> None:
    now = [0.0]
    out = io.StringIO()
    view = Plain(out, Narrator(LOOK), clock=lambda: now[0])
    view.on_event(StepStarted(0.0, thing("a")))
    silent_since, longest = 0.0, 0.0
    for second in range(1, 200):
        now[0], before = float(second), len(out.getvalue())
        view.beat()
        if len(out.getvalue()) > before:
            longest, silent_since = max(longest, second - silent_since), float(second)
    assert 0 < longest <= 30


def test_elapsed_time_is_the_operations_and_never_runs_ahead() -> None:
    now = [100.0]
    elapsed = Elapsed(lambda: now[0])
    elapsed.begin()
    now[0] = 107.0
    elapsed.saw(2.0)  # the operation began five seconds after the view
    assert elapsed.now() == 2.0
    elapsed.saw(50.0)
    assert elapsed.now() == 7.0


def test_a_ticker_that_never_ran_can_be_stopped() -> None:
    Ticker(lambda: None).stop()


def test_what_an_encoding_lacks_is_written_all_the_same() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    write_lines(stream, ["größer → x"])
    assert raw.getvalue() == b"gr\\xf6\\xdfer \\u2192 x\n"


def test_outputs_of_several_lines_and_with_secrets() -> None:
    done = OperationFinished(
        1.0, "up", "succeeded", {}, {"readme": "# a\n\nb\n", "n": None, "k": Secret([1])}
    )
    assert told(done).splitlines()[1:7] == [
        "Outputs",
        "    k: [secret]",
        "    n: null",
        "    readme:",
        "        # a",
        "        ",
    ]
    assert "    k: [1]" in told(done, show_secrets=True)


def test_what_the_engine_declares_for_itself_is_not_told() -> None:
    own = plans.step(Op.CREATE, "pulumi:providers:test", "default_1_2_0", parent=plans.STACK)
    text = told(
        PlanReady(0.5, Plan("app", "dev", (own, thing("a")))),
        StepStarted(1.0, own),
        StepFinished(2.0, own, 1.0),
        OperationFinished(3.0, "up", "succeeded", {}),
    )
    assert "default" not in text
    assert text.endswith("up done in 3.0s")


# --- policies ----------------------------------------------------------------------------------------------

MANY = (
    PolicyViolation("a-pack", "1.2.0", "tags", "advisory", "Say who owns it.", plans.SERVICE),
    PolicyViolation("a-pack", "1.2.0", "size", "mandatory", "Too big.\nAt most 3.", thing("a").urn),
    PolicyViolation("a-pack", "1.2.0", "name", "remediate", "Gave it a name.", thing("a").urn),
    PolicyViolation("b-pack", "", "budget", "advisory", "Near the budget."),
)


def test_the_policies_block() -> None:
    check_golden("view_policies.txt", "\n".join(policies.render((*MANY, MANY[0]), LOOK)) + "\n")


def test_policies_heard_while_planning_are_told_once_with_the_plan() -> None:
    plan = dataclasses.replace(plans.first_plan(), violations=(MANY[0],))
    narrator = Narrator(LOOK)
    assert narrator.lines(PolicyReported(0.5, MANY[0])) == []
    assert narrator.lines(PolicyReported(0.5, MANY[3])) == []
    text = "\n".join(narrator.lines(PlanReady(1.0, plan)))
    assert text.count("Say who owns it.") == text.count("Near the budget.") == 1
    assert "[mandatory] a-pack/size" in "\n".join(narrator.lines(PolicyReported(2.0, MANY[1])))
    assert "Say who" not in "\n".join(narrator.lines(OperationFinished(3.0, "up", "succeeded", {})))


def test_policies_of_a_run_without_a_plan_are_told_at_its_end() -> None:
    assert "Too big." in told(PolicyReported(0.5, MANY[1]), OperationFinished(3.0, "preview", "failed", {}))


def test_a_step_that_a_policy_refuses_says_so() -> None:
    plan = dataclasses.replace(a_plan(thing("a"), thing("b")).plan, violations=MANY)
    infos = {row.name: row.info for row in rows(plan, LOOK)}
    assert infos["a"] == "refused by a-pack/size"
    assert infos["b"] == ""

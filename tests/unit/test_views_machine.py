"""The published formats: schemas, documentation, and what is really written agree."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.support import cli_plans as plans
from tests.support.schemas import validate
from tickover.engine import events
from tickover.engine.plan import Op, Plan
from tickover.engine.provider import DiffKind, PropertyDiff, Severity
from tickover.engine.savedplan import FORMAT_VERSION as SAVED_VERSION
from tickover.engine.values import UNKNOWN, Secret
from tickover.errors import Exit, TickoverError
from tickover.schemas import NAMES, schema
from tickover.views.errors import error_json
from tickover.views.jsonlines import JsonLines, event_objects, version_line
from tickover.views.plan_document import FORMAT_VERSION, document

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/machine-output.md").read_text("utf-8")
EXAMPLES = re.findall(r"```(jsonl?) (\w+)\n(.*?)```", PAGE, re.DOTALL)
KIND = "app:index:Thing"


class Money:
    def as_json(self) -> dict[str, Any]:
        amount = {"busy": "1.50", "idle": "unknown"}
        return {
            "currency": "USD", "basis": "b", "price_table": "p", "hours_per_month": 730, "old": amount,
            "new": amount, "delta": amount, "pools": [],
        }  # fmt: skip


def one_of_each() -> list[events.Event]:
    step = plans.mixed_plan().steps[2]
    return [
        events.PhaseStarted(0.0, "planning"),
        events.Diagnostic(0.1, Severity.WARNING, "mind"),
        events.Diagnostic(0.1, Severity.INFO, "1 of 2", step.urn, ephemeral=True),
        events.ProgramOutput(0.1, "hello\ud800"),
        events.StepPlanned(0.2, step),
        events.PlanReady(0.3, plans.mixed_plan()),
        events.StepStarted(0.4, step),
        events.StepFinished(0.5, step, 0.1),
        events.StepFailed(0.5, step, 0.1, "no"),
        events.PolicyReported(0.6, plans.mixed_plan().violations[0]),
        events.OperationFinished(0.7, "up", "failed", {"create": 1}, {"a": Secret(1), "b": UNKNOWN}),
    ]


@pytest.mark.parametrize("index", range(len(EXAMPLES)))
def test_every_example_in_the_documentation_is_valid(index: int) -> None:
    kind, name, text = EXAMPLES[index]
    for one in text.splitlines() if kind == "jsonl" else [text]:
        validate(name, json.loads(one))


def test_the_documentation_has_an_example_of_each_format() -> None:
    assert {name for _, name, _ in EXAMPLES} == set(NAMES)
    assert PAGE.count("```json") == len(EXAMPLES)


def test_the_documentation_names_every_event_type_and_operation() -> None:
    types = schema("events")["properties"]["type"]["enum"]
    assert all(f"| `{name}` |" in PAGE for name in types)
    assert all(f"`{op.value}`" in PAGE for op in Op)


def test_the_schemas_know_every_operation() -> None:
    for name in NAMES:
        assert set(schema(name)["$defs"]["op"]["enum"]) == {op.value for op in Op}


def test_the_schemas_are_open_for_growth() -> None:
    assert all('additionalProperties": false' not in json.dumps(schema(name)) for name in NAMES)


def test_the_versions_are_those_of_the_schemas() -> None:
    assert all(re.fullmatch(r"1\.\d+", version) for version in (FORMAT_VERSION, SAVED_VERSION))


def test_every_event_makes_valid_lines() -> None:
    assert {type(e) for e in one_of_each()} == set(get_args(events.Event))
    out = io.StringIO()
    view = JsonLines(out, lambda plan: Money())
    view.write(version_line("up", "dev", "0.1.0"))
    for event in one_of_each():
        view.on_event(event)
    view.write(error_json(TickoverError("a-b", "Sum", exit_code=Exit.POLICY)))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    for line in lines:
        validate("events", line)
    assert lines[0]["type"] == "version"
    assert {line["type"] for line in lines} == set(schema("events")["properties"]["type"]["enum"])


def test_the_schema_refuses_what_is_not_documented() -> None:
    good = version_line("up", "dev", "0.1.0")
    for bad in ({**good, "type": "surprise"}, {k: v for k, v in good.items() if k != "stack"}, {}):
        with pytest.raises(AssertionError):
            validate("events", bad)
    plan = document(plans.mixed_plan())
    for bad in ({**plan, "format_version": "2.0"}, {**plan, "steps": [{"op": "paint"}]}):
        with pytest.raises(AssertionError):
            validate("plan", bad)


def test_a_plan_with_a_cost_is_valid() -> None:
    made = document(
        plans.mixed_plan(), Money(), [{"severity": "error", "message": "m", "urn": ""}], errored=True
    )
    validate("plan", made)
    assert made["cost"]["new"]["busy"] == "1.50"


def test_the_plan_of_a_stream_is_errored_after_an_error_or_by_a_policy() -> None:
    def errored(*heard: events.Event) -> bool:
        out = io.StringIO()
        view = JsonLines(out, lambda plan: None)
        for event in heard:
            view.on_event(event)
        return bool(json.loads(out.getvalue().splitlines()[-1])["plan"]["errored"])

    fine = events.PlanReady(1.0, plans.first_plan())
    assert not errored(events.Diagnostic(0.1, Severity.WARNING, "mind"), fine)
    assert errored(events.Diagnostic(0.1, Severity.ERROR, "no"), fine)
    assert errored(events.PlanReady(1.0, plans.mixed_plan()))


def test_secret_unknown_and_hidden_are_told_apart_by_path() -> None:
    old = plans.state(
        KIND,
        "a",
        {"s": Secret(1), "h": {"x": 1}, "t": "[secret]", "was": "open"},
        extra={"hideDiff": ["h.x"]},
    )
    new = dataclasses.replace(
        old, inputs={**old.inputs, "u": [UNKNOWN], "h": {"x": 2}, "was": Secret("open")}
    )
    (step,) = document(Plan("app", "dev", (plans.step(Op.UPDATE, KIND, "a", old=old, new=new),)))["steps"]
    assert step["before"] == {"h": {"x": "[hidden]"}, "s": "[secret]", "t": "[secret]", "was": "[secret]"}
    assert step["before_secret"] == ["s", "was"]
    assert step["after_secret"] == ["s", "was"]
    assert step["before_hidden"] == step["after_hidden"] == ["h.x"]
    assert step["after_unknown"] == ["u[0]"]


def test_drift_is_told_apart_and_by_its_outputs() -> None:
    old = plans.state(KIND, "a", {"size": 1}, outputs={"size": 1})
    new = dataclasses.replace(old, outputs={"size": 2})
    why = ("drifted: size",)
    drifted = plans.step(Op.UPDATE, KIND, "a", old=old, new=new, diff_keys=("size",), reasons=why)
    gone = plans.step(Op.DELETE, KIND, "b", old=old, reasons=("gone: it no longer exists",))
    fine = plans.step(Op.REFRESH, KIND, "c", old=old, new=old)
    made = document(Plan("app", "dev", (drifted, gone, fine)))
    validate("plan", made)
    assert [(d["name"], d["is_gone"], d["changed_paths"]) for d in made["drift"]] == [
        ("a", False, ["size"]),
        ("b", True, []),
    ]
    assert (made["steps"][0]["before"], made["steps"][0]["after"]) == ({"size": 1}, {"size": 2})


def test_replace_paths_are_as_precise_as_the_provider() -> None:
    step = plans.step(
        Op.REPLACE,
        KIND,
        "a",
        old=plans.state(KIND, "a", {}),
        new=plans.state(KIND, "a", {}),
        detailed={"net.id": PropertyDiff(DiffKind.UPDATE_REPLACE), "size": PropertyDiff(DiffKind.UPDATE)},
    )
    assert document(Plan("app", "dev", (step,)))["steps"][0]["replace_paths"] == ["net.id"]


def test_ten_thousand_replacements_make_a_document_in_linear_time() -> None:
    steps = tuple(
        plans.step(op, KIND, f"n{i}") for i in range(5000) for op in (Op.CREATE_REPLACEMENT, Op.REPLACE)
    )
    assert len(document(Plan("app", "dev", steps))["steps"]) == 5000


def test_a_program_that_prints_half_a_character_does_not_break_the_stream() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    JsonLines(raw, lambda plan: None).on_event(events.ProgramOutput(0.0, "\ud800"))
    assert event_objects(events.ProgramOutput(0.0, "x"), lambda plan: None)[0]["line"] == "x"

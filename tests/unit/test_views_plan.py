"""The plan as people and programs read it."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import cli_plans as plans
from tests.support.cli_golden import check_golden
from tests.support.schemas import validate
from tickover.engine.events import PlanReady
from tickover.engine.plan import Op, Plan
from tickover.engine.values import Secret
from tickover.views import details, summary, tree
from tickover.views.narrator import Narrator
from tickover.views.plan_document import document
from tickover.views.terminal import Look
from tickover.views.words import WORDS

LOOK = Look()


def whole(plan: Plan, look: Look = LOOK, *, with_details: bool = False) -> str:
    return "\n".join(Narrator(look, with_details=with_details).lines(PlanReady(1.0, plan))) + "\n"


@pytest.mark.parametrize("name", ["first", "mixed", "unchanged"])
def test_plan_text(name: str) -> None:
    check_golden(f"view_plan_{name}.txt", whole(getattr(plans, f"{name}_plan")()))


def test_plan_details() -> None:
    check_golden("view_plan_details.txt", "\n".join(details.render(plans.mixed_plan(), LOOK)) + "\n")


def test_plan_document() -> None:
    made = document(plans.mixed_plan())
    validate("plan", made)
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    check_golden("view_plan_document.json.txt", text)


def test_every_operation_has_words() -> None:
    assert set(WORDS) == set(Op)


def test_the_order_in_which_steps_were_decided_does_not_show() -> None:
    plan = plans.mixed_plan()
    steps = list(plan.steps)
    random.Random(3).shuffle(steps)
    shuffled = dataclasses.replace(plan, steps=tuple(steps))
    assert tree.render(shuffled, LOOK) == tree.render(plan, LOOK)


def test_a_replacement_is_one_line_and_names_what_forces_it() -> None:
    (line,) = [x for x in tree.rows(plans.mixed_plan(), LOOK) if x.name == "chat-http"]
    assert line.op is Op.REPLACE
    assert "replaced because of triggerName" in line.info


def test_unchanged_resources_are_hidden_but_ancestors_of_changed_ones_are_not() -> None:
    names = [r.name for r in tree.rows(plans.mixed_plan(), LOOK)]
    assert "other-0" not in names
    assert names[:2] == ["app-dev", "chat"]


def test_ascii_where_the_terminal_can_do_no_better() -> None:
    text = whole(plans.mixed_plan(), Look(unicode=False), with_details=True)
    assert text.isascii()


def test_colour_only_when_asked_for() -> None:
    assert "\x1b[" not in whole(plans.mixed_plan(), with_details=True)
    assert "\x1b[" in whole(plans.mixed_plan(), Look(color=True))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_lines_stay_within_the_width_unless_names_alone_do_not_fit(width: int) -> None:
    lines = tree.render(plans.mixed_plan(), Look(width=width))
    assert all(len(line) <= width for line in lines)


def test_a_long_list_of_creations_is_cut_but_deletions_never() -> None:
    steps = tuple(plans.step(Op.CREATE, "a:b:C", f"new-{i:02}") for i in range(30))
    steps += tuple(plans.step(Op.DELETE, "a:b:C", f"old-{i:02}") for i in range(30))
    text = "\n".join(summary.render(Plan("app", "dev", steps), LOOK))
    assert "and 22 more" in text
    assert all(f"old-{i:02}" in text for i in range(30))
    assert text.index("old-00") < text.index("new-00")


def test_changed_outputs_alone_are_told() -> None:
    plan = dataclasses.replace(plans.unchanged_plan(), outputs={"a": 1}, old_outputs={"a": 2})
    assert "outputs: ~a" in whole(plan)
    assert "only outputs change" in whole(plan)
    assert "No changes" not in whole(plan)


@given(st.text(min_size=6))
def test_no_view_shows_a_secret(text: str) -> None:
    word = "s3cr3t" + text
    changed = plans.step(
        Op.UPDATE,
        "a:b:C",
        "c",
        old=plans.state("a:b:C", "c", {"x": [Secret(word)], "y": {"z": Secret("a")}}),
        new=plans.state("a:b:C", "c", {"x": [Secret(word + "2")], "y": {"z": Secret(word)}}),
        diff_keys=("x", "y"),
    )
    plan = Plan("app", "dev", (changed,), outputs={"o": Secret(word)}, old_outputs={"o": Secret("b")})
    said = whole(plan, with_details=True) + json.dumps(document(plan), ensure_ascii=False)
    assert "s3cr3t" not in said
    assert "the secret changed" in said


def test_the_document_tells_secrets_and_unknowns_by_path() -> None:
    (update,) = [s for s in document(plans.mixed_plan())["steps"] if s["op"] == "update"]
    assert update["after"] == {"cpu": 4, "disk": "[unknown]", "key": "[secret]"}
    assert (update["after_secret"], update["after_unknown"]) == (["key"], ["disk"])


def test_a_plan_that_only_replaces_has_changes_and_a_count() -> None:
    plan = dataclasses.replace(
        plans.mixed_plan(), steps=tuple(s for s in plans.mixed_plan().steps if s.name == "chat-http")
    )
    made = document(plan)
    assert made["has_changes"] is True
    assert made["counts"] == {"replace": 1}
    assert [s["op"] for s in made["steps"]] == ["replace"]

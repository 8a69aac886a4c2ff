"""The choice between same, create, update and replace, and its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tickover.engine.decide import Choice, decide, steps_of
from tickover.engine.goal import Goal
from tickover.engine.provider import DiffKind, DiffResult, PropertyDiff
from tickover.engine.state import ResourceState

URN = "urn:pulumi:dev::demo::test:index:Thing::a"
GOAL = Goal(URN, "test:index:Thing", "a", True, inputs={"size": 1})
OLD = ResourceState(URN, "test:index:Thing", True, id="a-1", inputs={"size": 1})
UPDATE = DiffResult(True, detailed={"size": PropertyDiff(DiffKind.UPDATE)})
MUST = DiffResult(True, detailed={"size": PropertyDiff(DiffKind.UPDATE_REPLACE)})
NO = DiffResult(False)
COMPONENT = replace(GOAL, custom=False)
OLD_COMPONENT = replace(OLD, custom=False, id="")

CASES = {
    "new": (None, GOAL, None, Choice.CREATE, False, ("new",)),
    "no difference": (OLD, GOAL, NO, Choice.SAME, False, ()),
    "difference": (OLD, GOAL, UPDATE, Choice.UPDATE, False, ("changed: size",)),
    "difference without keys": (OLD, GOAL, DiffResult(True), Choice.UPDATE, False, ("changed",)),
    "must replace": (OLD, GOAL, MUST, Choice.REPLACE, False, ("replace: size",)),
    "keys to replace only": (
        OLD, GOAL, DiffResult(True, replaces=("kind",)), Choice.REPLACE, False, ("replace: kind",),
    ),
    "provider deletes first": (
        OLD, GOAL, replace(MUST, delete_before_replace=True), Choice.REPLACE, True, ("replace: size",),
    ),
    "program deletes first": (
        OLD, replace(GOAL, delete_before_replace=True), MUST, Choice.REPLACE, True, ("replace: size",),
    ),
    "program overrules": (
        OLD, replace(GOAL, delete_before_replace=False), replace(MUST, delete_before_replace=True),
        Choice.REPLACE, False, ("replace: size",),
    ),
    "replaceOnChanges": (
        OLD, replace(GOAL, replace_on_changes=("size",)), UPDATE, Choice.REPLACE, False, ("replace: size",),
    ),
    "replaceOnChanges of all": (
        OLD, replace(GOAL, replace_on_changes=("*",)), UPDATE, Choice.REPLACE, False, ("replace: size",),
    ),
    "replaceOnChanges of another": (
        OLD, replace(GOAL, replace_on_changes=("kind",)), UPDATE, Choice.UPDATE, False, ("changed: size",),
    ),
    "init errors": (
        replace(OLD, init_errors=("no",)), GOAL, NO, Choice.UPDATE, False,
        ("its last step was not complete",),
    ),
    "deleted already": (
        replace(OLD, pending_replacement=True), GOAL, None, Choice.CREATE, False,
        ("its deletion was done, its creation was not",),
    ),
    "of another kind": (
        OLD, COMPONENT, None, Choice.REPLACE, False, ("becomes another kind of resource",),
    ),
    "component unchanged": (OLD_COMPONENT, COMPONENT, None, Choice.SAME, False, ()),
    "component changed": (
        replace(OLD_COMPONENT, inputs={"size": 2}), COMPONENT, None, Choice.UPDATE, False, ("changed: size",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_row(case):
    old, goal, diff, choice, delete_first, reasons = case
    decision = decide(old, goal, diff)
    assert (decision.choice, decision.delete_first, decision.reasons) == (choice, delete_first, reasons)


def test_what_falls_with_another_is_deleted_first():
    decision = decide(OLD, GOAL, NO, forced=True)
    assert (decision.choice, decision.delete_first) == (Choice.REPLACE, True)


def test_efforts_are_in_order():
    efforts = [decide(OLD, GOAL, d).effort for d in (NO, UPDATE, MUST)] + [decide(None, GOAL, None).effort]
    assert efforts == sorted(efforts) and len(set(efforts)) == 4


@pytest.mark.parametrize(
    ("diff", "first", "ops"),
    [
        (NO, None, ["same"]),
        (UPDATE, None, ["update"]),
        (MUST, False, ["create-replacement", "replace"]),
        (MUST, True, ["delete-replaced", "replace", "create-replacement"]),
    ],
)
def test_steps_of_a_decision(diff, first, ops):
    goal = replace(GOAL, delete_before_replace=first)
    steps = steps_of(decide(OLD, goal, diff), OLD, goal.as_state({}), "a")
    assert [s.op.value for s in steps] == ops

"""The choice between same, create, update and replace, and its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tickover.engine.decide import Choice, decide, imposed, trigger_fired
from tickover.engine.goal import Goal
from tickover.engine.provider import DiffKind, DiffResult, PropertyDiff
from tickover.engine.state import ResourceState
from tickover.engine.values import UNKNOWN, Secret

URN = "urn:pulumi:dev::demo::test:index:Thing::a"
GOAL = Goal(URN, "test:index:Thing", "a", True, inputs={"size": 1})
OLD = ResourceState(URN, "test:index:Thing", True, id="a-1", inputs={"size": 1})
UPDATE = DiffResult(True, detailed={"size": PropertyDiff(DiffKind.UPDATE)})
MUST = DiffResult(True, detailed={"size": PropertyDiff(DiffKind.UPDATE_REPLACE)})
NO = DiffResult(False)
COMPONENT = replace(GOAL, custom=False)
OLD_COMPONENT = replace(OLD, custom=False, id="")

CASES = {
    "new": (None, GOAL, NO, Choice.CREATE, False, ("new",)),
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
        replace(OLD, pending_replacement=True), GOAL, NO, Choice.REPLACE, False,
        ("its deletion was done, its creation was not",),
    ),
    "not our own": (
        replace(OLD, external=True), GOAL, NO, Choice.REPLACE, False, ("was not this stack's own",),
    ),
    "replaceOnChanges of an incomplete step": (
        replace(OLD, init_errors=("no",)), replace(GOAL, replace_on_changes=("#initerror",)), NO,
        Choice.REPLACE, False, ("replace: its last step was not complete",),
    ),
    "component unchanged": (OLD_COMPONENT, COMPONENT, NO, Choice.SAME, False, ()),
    "component changed": (OLD_COMPONENT, COMPONENT, UPDATE, Choice.UPDATE, False, ("changed: size",)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_row(case):
    old, goal, diff, choice, delete_first, reasons = case
    decision = decide(old, goal, diff)
    assert (decision.choice, decision.delete_first, decision.reasons) == (choice, delete_first, reasons)


TRIGGERED = replace(OLD, extra={"replacementTrigger": 1})


@pytest.mark.parametrize(
    ("old", "goal", "flags", "key"),
    [
        (OLD, GOAL, {}, ""),
        (OLD, GOAL, {"is_targeted": True}, "id"),
        (OLD, GOAL, {"is_elsewhere": True}, "provider"),
        (OLD, replace(GOAL, replace_with=("urn:x",)), {"replaced": {"urn:x"}}, "replaceWith"),
        (OLD, replace(GOAL, replace_with=("urn:x",)), {"replaced": {"urn:y"}}, ""),
        (TRIGGERED, replace(GOAL, replacement_trigger=2), {}, "replacementTrigger"),
    ],
)
def test_what_replaces_whatever_the_provider_says(old, goal, flags, key):
    found = imposed(old, goal, **{"is_targeted": False, "replaced": set(), "is_elsewhere": False, **flags})
    assert (found.replaces if found else ()) == ((key,) if key else ())


@pytest.mark.parametrize(
    ("old", "new", "fires"),
    [
        (None, None, False),
        (None, 1, False),
        (1, None, False),
        (1, 1, False),
        (1, 2, True),
        (Secret("a"), "a", False),
        ([Secret("a")], ["b"], True),
        (1, UNKNOWN, True),
    ],
)
def test_when_a_trigger_fires(old, new, fires):
    assert trigger_fired(old, new) is fires

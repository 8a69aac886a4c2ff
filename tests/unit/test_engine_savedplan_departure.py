"""What departs from a saved plan, and what may turn out as it likes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.saved_plans import PROVIDER, ROOT, URN, plan_of, planned
from tickover.engine import savedplan
from tickover.engine.plan import Op
from tickover.engine.state import CustomTimeouts
from tickover.engine.values import UNKNOWN, Archive, Asset, ResourceReference, Secret

REPLACING = (Op.CREATE_REPLACEMENT, Op.REPLACE, Op.DELETE_REPLACED)


@pytest.mark.parametrize("actual", list(Op))
@pytest.mark.parametrize("wanted", list(Op))
def test_an_operation_may_be_less_than_planned_and_nothing_else(wanted: Op, actual: Op) -> None:
    less = {Op.CREATE: {Op.SAME}, Op.UPDATE: {Op.SAME}} | {op: {Op.SAME, Op.UPDATE} for op in REPLACING}
    is_fine = actual is wanted or actual in less.get(wanted, set())
    said = savedplan.departure(planned(wanted), actual, planned(wanted).goal)
    assert (said is None) is is_fine
    if said:
        assert wanted.value in said
        assert actual.value in said


@pytest.mark.parametrize("actual", [*REPLACING, Op.UPDATE, Op.SAME])
def test_each_half_of_a_planned_replacement_may_come(actual: Op) -> None:
    assert savedplan.departure(planned(*REPLACING), actual, None) is None


def test_what_is_not_in_the_plan_departs() -> None:
    assert (
        savedplan.departure(None, Op.CREATE, None)
        == "the plan does not have it, and it would now be 'create'"
    )
    gone = savedplan.PlannedResource(URN, (Op.DELETE,))
    assert "was planned" in str(savedplan.departure(gone, Op.SAME, planned().goal))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"inputs": {"size": 4, "token": Secret("hunter2"), "url": 1}}, "its input size is another one"),
        ({"inputs": {"size": 3, "token": Secret("x"), "url": 1}}, "its input token is another one"),
        ({"inputs": {"size": 3, "token": "hunter2", "url": 1}}, "its input token is no longer secret"),
        ({"inputs": {"size": 3, "url": 1}}, "its input token is missing"),
        ({"inputs": {"token": Secret("hunter2")}}, "its input size is missing"),
        (
            {"inputs": {"size": 3, "token": Secret("hunter2"), "more": 1}},
            "its input more is set, and was not planned to be",
        ),
        ({"protect": None}, "its option protect is missing"),
        ({"retain_on_delete": True}, "its option retain_on_delete is set, and was not planned to be"),
        ({"custom_timeouts": CustomTimeouts(create=6.0)}, "its option custom_timeouts.create is another one"),
        ({"aliases": ()}, "its option aliases is missing"),
        ({"replacement_trigger": Secret([2])}, "its option replacement_trigger[0] is another one"),
        ({"parent": ""}, "its parent is not the planned one"),
        ({"custom": False}, "its custom is not the planned one"),
        ({"provider": f"{PROVIDER}-mine::1"}, "its provider is not the planned one"),
        ({"dependencies": ()}, "its dependencies are not the planned ones"),
        (
            {"property_dependencies": {"size": ()}},
            "the dependencies of its input size are not the planned ones",
        ),
    ],
)  # fmt: skip
def test_what_departs_is_named_without_its_value(changed: dict[str, Any], why: str) -> None:
    said = savedplan.departure(planned(), Op.CREATE, planned(**changed).goal)
    assert said == why
    assert "hunter2" not in why


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (UNKNOWN, 3),
        (UNKNOWN, Secret({"a": 1})),
        (Secret(UNKNOWN), "open"),
        ([1, UNKNOWN], [1, {"a": 2}]),
        ({"a": UNKNOWN}, {}),
        (1, 1.0),
        ({"a": 1}, Secret({"a": 1})),
        ({"a": Secret(1)}, Secret({"a": 1})),
        (Asset(path="/one/f", hash="ab"), Asset(path="/two/f", hash="ab")),
        (Archive(path="/one", hash="ab"), Archive(path="/two", hash="ab")),
        (ResourceReference(URN, UNKNOWN), ResourceReference(URN, "i")),
    ],
)
def test_what_was_unknown_may_turn_out_as_it_likes(before: Any, after: Any) -> None:
    one, two = planned(inputs={"x": before}), planned(inputs={"x": after})
    assert savedplan.departure(one, Op.CREATE, two.goal) is None


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ([1, 2], [1], "x has 1 items instead of 2"),
        (True, 1, "x is another one"),
        ({"a": {"b": [0, 1]}}, {"a": {"b": [0, 2]}}, "x.a.b[1] is another one"),
        (Asset(text="a", hash="ab"), Asset(text="b", hash="cd"), "x is another one"),
        (ResourceReference(URN, "i"), ResourceReference(URN, "j"), "x is another one"),
        (Secret({"a": 1}), {"a": 1}, "x is no longer secret"),
        (3, UNKNOWN, "x is another one"),
    ],
)
def test_what_was_known_may_not_change(before: Any, after: Any, why: str) -> None:
    one, two = planned(inputs={"x": before}), planned(inputs={"x": after})
    assert savedplan.departure(one, Op.CREATE, two.goal) == f"its input {why}"


def test_a_provider_that_was_to_be_made_may_get_any_id_but_a_known_one_stays() -> None:
    made = planned(provider=f"{PROVIDER}::7")
    assert savedplan.departure(planned(), Op.CREATE, made.goal) is None
    assert savedplan.departure(made, Op.CREATE, planned(provider=f"{PROVIDER}::8").goal) is not None


def test_what_never_came_up_is_named() -> None:
    assert savedplan.unseen(plan_of(planned()), [ROOT]) == (URN,)
    assert savedplan.unseen(plan_of(planned()), [URN, ROOT]) == ()


def test_a_departing_run_has_its_own_error() -> None:
    error = savedplan.departed(URN, "its input size is another one", stack="dev")
    assert (error.code, error.address) == ("plan-departed", URN)
    assert "exactly or not at all" in error.detail

"""The monthly cost of a plan's pools, against figures worked out by hand from FC's list prices."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tickover.engine.plan import Op, Plan, Step
from tickover.engine.state import ResourceState
from tickover.engine.values import UNKNOWN
from tickover.provider.cost import CostEstimate, estimate

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ADA = {
    "functionName": "chat-prod",
    "cpu": 8,
    "memorySize": 65536,
    "diskSize": 512,
    "gpuConfig": {"gpuType": "fc.gpu.ada.1", "gpuMemorySize": 49152},
}
POOL = {
    "functionName": "chat-prod",
    "qualifier": "live",
    "defaultTarget": 1,
    "alwaysAllocateCPU": False,
    "alwaysAllocateGPU": False,
}


def urn(type_: str, name: str = "chat") -> str:
    return f"urn:pulumi:prod::p::tickover:fc:{type_}::{name}"


def state(type_: str, inputs: dict[str, Any], name: str = "chat", **more: Any) -> ResourceState:
    return ResourceState(urn(type_, name), f"tickover:fc:{type_}", True, "id", inputs, inputs, **more)


def step(op: Op, old: ResourceState | None, new: ResourceState | None) -> Step:
    shown = new or old
    assert shown is not None
    return Step(op, shown.urn, shown.type, "chat", True, old=old, new=new)


def cost(*steps: Step) -> CostEstimate:
    return estimate(Plan("p", "prod", steps), NOW)


def created(pool: dict[str, Any], function: dict[str, Any] = ADA) -> CostEstimate:
    return cost(
        step(Op.CREATE, None, state("Function", function)),
        step(Op.CREATE, None, state("ProvisionConfig", pool)),
    )


def test_a_pool_with_idle_billing() -> None:
    found = created(POOL)
    assert (found.new.busy, found.new.idle) == (Decimal("27712.64"), Decimal("4561.92"))
    assert (found.old.busy, found.old.idle) == (0, 0)
    assert found.delta == found.new
    assert found.pools[0].instance_hours == 720


def test_without_idle_billing_idle_costs_as_much_as_busy() -> None:
    found = created({k: v for k, v in POOL.items() if not k.startswith("always")})
    assert found.new.idle == found.new.busy == Decimal("27712.64")


def test_a_timetable_counts_its_hours() -> None:
    actions = [
        {"name": "on", "target": 1, "scheduleExpression": "cron(0 0 9 * * *)"},
        {"name": "off", "target": 0, "scheduleExpression": "cron(0 0 19 * * *)"},
    ]
    found = created({**POOL, "defaultTarget": 0, "scheduledActions": actions})
    # 10 h a day, 57,600 CU an idle hour.
    assert found.pools[0].instance_hours == 300
    assert found.new.idle == Decimal("1900.80")


def test_two_pools_share_the_tiers() -> None:
    found = cost(
        step(Op.CREATE, None, state("Function", ADA)),
        step(Op.CREATE, None, state("ProvisionConfig", POOL)),
        step(Op.CREATE, None, state("ProvisionConfig", {**POOL, "qualifier": "next"}, "next")),
    )
    # 514,252,800 CU: 200 M at 0.00011, the rest at 0.00010.
    assert found.new.busy == Decimal("53425.28")
    assert found.new.busy < sum(p.new.busy for p in found.pools if p.new.busy is not None)


@pytest.mark.parametrize(
    ("weights", "hours"),
    [({"2": 0.05}, 1440), ({"2": UNKNOWN}, 1440), (UNKNOWN, 1440), ({}, 720), ({"2": 0.0}, 720)],
)
def test_a_pool_of_one_has_two_while_its_alias_has_two_versions(weights: Any, hours: int) -> None:
    alias = {"functionName": "chat-prod", "aliasName": "live", "versionId": "1"}
    function, pool = state("Function", ADA), state("ProvisionConfig", POOL)
    divided = state("Alias", {**alias, "additionalVersionWeight": weights}, "live")
    found = cost(
        step(Op.SAME, function, function),
        step(Op.UPDATE, state("Alias", alias, "live"), divided),
        step(Op.SAME, pool, pool),
    )
    assert found.old.idle == Decimal("4561.92")
    assert found.pools[0].instance_hours == hours
    assert found.pools[0].instances == hours / 720


def test_a_divided_pool_of_several_costs_what_it_did() -> None:
    alias = {"functionName": "chat-prod", "aliasName": "live", "additionalVersionWeight": {"2": 0.5}}
    actions = [
        {"name": "on", "target": 2, "scheduleExpression": "cron(0 0 9 * * *)"},
        {"name": "off", "target": 0, "scheduleExpression": "cron(0 0 19 * * *)"},
    ]
    found = cost(
        step(Op.CREATE, None, state("Function", ADA)),
        step(Op.CREATE, None, state("Alias", alias, "live")),
        step(
            Op.CREATE,
            None,
            state("ProvisionConfig", {**POOL, "defaultTarget": 0, "scheduledActions": actions}),
        ),
    )
    assert found.pools[0].instance_hours == 600
    assert found.pools[0].instances == 0


def test_an_update_says_the_difference() -> None:
    function = state("Function", ADA)
    found = cost(
        step(Op.SAME, function, function),
        step(
            Op.UPDATE, state("ProvisionConfig", POOL), state("ProvisionConfig", {**POOL, "defaultTarget": 0})
        ),
    )
    assert found.delta.idle == Decimal("-4561.92")
    assert found.new.busy == 0


def test_a_replacement_is_one_pool_and_a_delete_costs_nothing_after() -> None:
    old, new = state("ProvisionConfig", POOL), state("ProvisionConfig", {**POOL, "qualifier": "next"})
    function = state("Function", ADA)
    replaced = cost(
        step(Op.SAME, function, function),
        step(Op.CREATE_REPLACEMENT, old, new),
        step(Op.REPLACE, old, new),
        step(Op.DELETE_REPLACED, old, None),
    )
    assert len(replaced.pools) == 1
    assert replaced.delta.busy == 0
    deleted = cost(step(Op.DELETE, old, None), step(Op.DELETE, function, None))
    assert (deleted.old.idle, deleted.new.idle) == (Decimal("4561.92"), 0)


@pytest.mark.parametrize(
    ("pool", "function", "reason"),
    [
        ({**POOL, "defaultTarget": UNKNOWN}, ADA, "the pool's size is not known before it is applied"),
        (POOL, {**ADA, "cpu": UNKNOWN}, "its function's size is not known before it is applied"),
        ({**POOL, "functionName": "elsewhere"}, ADA, "its function is not part of this stack"),
        (POOL, {**ADA, "gpuConfig": {"gpuType": "fc.gpu.new.1", "gpuMemorySize": 1024}}, "has no price"),
    ],
)
def test_unknown_is_never_nothing(pool: dict[str, Any], function: dict[str, Any], reason: str) -> None:
    found = created(pool, function)
    assert found.new.busy is None
    assert found.delta.busy is None
    assert reason in found.pools[0].reason
    assert found.as_json()["new"] == {"busy": "unknown", "idle": "unknown"}


def test_a_function_whose_name_is_not_known_is_found_through_the_dependency() -> None:
    pool = state(
        "ProvisionConfig",
        {**POOL, "functionName": UNKNOWN},
        property_dependencies={"functionName": (urn("Function"),)},
    )
    function = state("Function", {**ADA, "functionName": UNKNOWN})
    found = cost(step(Op.CREATE, None, function), step(Op.CREATE, None, pool))
    assert found.new.idle == Decimal("4561.92")


def test_json_has_decimal_strings() -> None:
    told = json.loads(json.dumps(created(POOL).as_json()))
    assert told["new"] == {"busy": "27712.64", "idle": "4561.92"}
    assert told["currency"] == "CNY"
    assert told["pools"][0]["instance_hours"] == "720"
    assert told["pools"][0]["function"] == "chat-prod"


def test_a_stack_without_pools_costs_nothing() -> None:
    assert cost().new.as_json() == {"busy": "0", "idle": "0"}

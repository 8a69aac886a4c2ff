"""Plans made by hand for the views."""

from __future__ import annotations

from typing import Any

from tickover.engine.plan import Op, Plan, PolicyViolation, Step
from tickover.engine.provider import DiffKind, PropertyDiff
from tickover.engine.state import ResourceState
from tickover.engine.values import UNKNOWN, Secret

STACK = "urn:pulumi:dev::app::pulumi:pulumi:Stack::app-dev"
SERVICE = "urn:pulumi:dev::app::tickover:index:VllmService::chat"


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:dev::app::{type_}::{name}"


def state(type_: str, name: str, inputs: dict[str, Any], **more: Any) -> ResourceState:
    return ResourceState(urn=urn(type_, name), type=type_, custom=True, inputs=inputs, **more)


def step(op: Op, type_: str, name: str, *, parent: str = SERVICE, **more: Any) -> Step:
    return Step(op=op, urn=urn(type_, name), type=type_, name=name, custom=True, parent=parent, **more)


def first_plan() -> Plan:
    """Everything is new."""
    return Plan(
        "app",
        "dev",
        (
            step(Op.CREATE, "pulumi:pulumi:Stack", "app-dev", parent=""),
            step(Op.CREATE, "tickover:index:VllmService", "chat", parent=STACK),
            step(
                Op.CREATE,
                "tickover:fc:Function",
                "chat",
                new=state("tickover:fc:Function", "chat", {"cpu": 2, "env": {"TOKEN": Secret("hunter2")}}),
            ),
            step(Op.CREATE, "tickover:fc:Alias", "chat-live"),
            step(Op.CREATE, "tickover:fc:ProvisionConfig", "chat"),
        ),
        outputs={"urls": UNKNOWN},
    )


def mixed_plan() -> Plan:
    """One of each kind, among many that stay."""
    function = "tickover:fc:Function"
    return Plan(
        "app",
        "dev",
        (
            step(Op.SAME, "pulumi:pulumi:Stack", "app-dev", parent=""),
            step(Op.SAME, "tickover:index:VllmService", "chat", parent=STACK),
            step(
                Op.UPDATE,
                function,
                "chat",
                old=state(function, "chat", {"cpu": 2, "memorySize": 4096, "key": Secret("old")}),
                new=state(function, "chat", {"cpu": 4, "disk": UNKNOWN, "key": Secret("new")}),
                diff_keys=("cpu", "disk", "key", "memorySize"),
                detailed={
                    "cpu": PropertyDiff(DiffKind.UPDATE),
                    "disk": PropertyDiff(DiffKind.ADD),
                    "key": PropertyDiff(DiffKind.UPDATE),
                    "memorySize": PropertyDiff(DiffKind.DELETE),
                },
                reasons=("changed: cpu",),
                source_position="__main__.py#12",
            ),
            *_replacement(),
            step(Op.CREATE, "tickover:fc:Alias", "chat-canary"),
            *(step(Op.SAME, "tickover:fc:Alias", f"other-{i}") for i in range(3)),
            step(Op.DELETE, "tickover:fc:CustomDomain", "chat", old=state("x", "chat", {}, id="chat.test")),
        ),
        outputs={"urls": {"chat": "http://new"}},
        old_outputs={"urls": {"chat": "http://old"}},
        violations=(
            PolicyViolation("pool", "1.0", "idle-billing", "mandatory", "Give a reason.", SERVICE),
            PolicyViolation("pool", "1.0", "budget", "advisory", "Near the budget."),
        ),
        warnings=("Flipping idle drops the pool to 0 for a moment.",),
    )


def _replacement() -> tuple[Step, ...]:
    type_ = "tickover:fc:Trigger"
    old = state(type_, "chat-http", {"triggerName": "a"}, id="1")
    new = state(type_, "chat-http", {"triggerName": "b"})
    shared: dict[str, Any] = {
        "diff_keys": ("triggerName",),
        "replace_keys": ("triggerName",),
        "detailed": {"triggerName": PropertyDiff(DiffKind.UPDATE_REPLACE)},
    }
    return (
        step(Op.CREATE_REPLACEMENT, type_, "chat-http", new=new, **shared),
        step(Op.REPLACE, type_, "chat-http", old=old, new=new, **shared),
        step(Op.DELETE_REPLACED, type_, "chat-http", old=old, **shared),
    )


def unchanged_plan() -> Plan:
    return Plan("app", "dev", (step(Op.SAME, "pulumi:pulumi:Stack", "app-dev", parent=""),))

"""The rules: what a stack of reserved model servers must not do.

Owns: each rule's name, words, severity and check. Promises: checks are functions of plain data, report
everything they find, and treat a value that is not known yet (None) as no finding. Never: imports Pulumi.

Run by path this folder is no package, so no module in it imports another one.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal

from tickover.engine.plan import Op, Plan, Step
from tickover.engine.state import ResourceState
from tickover.engine.values import UNKNOWN
from tickover.imageref import PROCESS_SCHEME, parse_reference
from tickover.provider.cost import MonthlyMoney, estimate

FUNCTION: Final = "tickover:fc:Function"
PROVISION: Final = "tickover:fc:ProvisionConfig"
TRIGGER: Final = "tickover:fc:Trigger"
DOMAIN: Final = "tickover:fc:CustomDomain"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as rules see it. parent_props: the properties of the component it belongs to."""

    urn: str
    type: str
    name: str
    props: Mapping[str, Any] = field(default_factory=dict)
    parent_props: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """message: full sentences: what is wrong, with which object, what to do."""

    message: str
    urn: str = ""


Check = Callable[[Sequence[Resource], Mapping[str, Any]], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    """scope: resource (judged one at a time, before its step) or stack (all together).

    level: advisory | mandatory, unless the config says otherwise. settings: name -> JSON schema.
    """

    name: str
    description: str
    remediation: str
    severity: Literal["low", "medium", "high", "critical"]
    level: Literal["advisory", "mandatory"]
    scope: Literal["resource", "stack"]
    check: Check
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def of_type(resources: Sequence[Resource], type_token: str) -> list[Resource]:
    """The resources of one type, in their order."""
    return [r for r in resources if r.type == type_token]


# --- reserved-pool-idle-billing --------------------------------------------------------------------


def check_idle_billing(resources: Sequence[Resource], config: Mapping[str, Any]) -> Iterator[Finding]:
    """A pool that keeps CPU or GPU while idle, and does not say why."""
    for pool in of_type(resources, PROVISION):
        kept = [
            what
            for what, key in (("GPU", "alwaysAllocateGPU"), ("CPU", "alwaysAllocateCPU"))
            if pool.props.get(key, True) is True  # FC's default keeps both
        ]
        reason = str(pool.parent_props.get("reason") or "").strip()
        if kept and not reason and _largest_target(pool) > 0:
            yield Finding(
                f"The pool {pool.name} keeps {' and '.join(kept)} while nobody asks and pays the full price "
                "around the clock. Turn idle billing on (`pool.idle: true`), or say why not (`pool.reason`).",
                pool.urn,
            )


def _largest_target(pool: Resource) -> int:
    actions = pool.props.get("scheduledActions") or []
    targets = [pool.props.get("defaultTarget"), *(a.get("target") for a in actions)]
    return max((int(t) for t in targets if t is not None), default=0)


# --- image-pinned --------------------------------------------------------------------------------


def check_image_pinned(resources: Sequence[Resource], config: Mapping[str, Any]) -> Iterator[Finding]:
    """An image whose name may mean something else tomorrow."""
    needs_digest = config.get("require", "version") == "digest"
    for function in of_type(resources, FUNCTION):
        image = (function.props.get("customContainerConfig") or {}).get("image")
        if isinstance(image, str) and (problem := _image_problem(image, needs_digest)):
            yield Finding(f"The image {image} of {function.name} {problem}", function.urn)


def _image_problem(image: str, needs_digest: bool) -> str:
    if image.startswith(PROCESS_SCHEME):
        return ""
    try:
        parsed = parse_reference(image)
    except ValueError as error:
        return f"cannot be read: {error}."
    if parsed.digest or (parsed.is_pinned and not needs_digest):
        return ""
    if parsed.is_pinned:
        return "is named by tag only, and tags can be moved. Name its digest: `…@sha256:…`."
    said = f"the tag `{parsed.tag}`, which moves" if parsed.tag else "no tag, which means latest"
    return f"has {said}. Name a version, such as `:v0.32.0`, or a digest."


# --- no-anonymous-trigger-on-public-domain -----------------------------------------------------------

_PRIVATE_SUFFIXES: Final = ("localhost", "local", "internal", "test", "invalid", "lan", "home.arpa")


def check_anonymous_domain(resources: Sequence[Resource], config: Mapping[str, Any]) -> Iterator[Finding]:
    """A public domain that routes to a function which anybody may call."""
    open_doors = {}
    for trigger in of_type(resources, TRIGGER):
        settings = _json_object(trigger.props.get("triggerConfig"))
        if trigger.props.get("triggerType") == "http" and settings.get("authType") == "anonymous":
            door = (trigger.props.get("functionName"), trigger.props.get("qualifier") or "LATEST")
            open_doors[door] = settings
    for domain in of_type(resources, DOMAIN):
        name = domain.props.get("domainName")
        if not isinstance(name, str) or not is_public_domain(name):
            continue
        guarded = (domain.props.get("authConfig") or {}).get("authType", "anonymous") != "anonymous"
        for route in (domain.props.get("routeConfig") or {}).get("routes") or []:
            door = (route.get("functionName"), route.get("qualifier") or "LATEST")
            opened = open_doors.get(door)
            # A guarded domain helps only where the trigger's own address is closed.
            is_known = isinstance(door[0], str)
            if not is_known or opened is None or (guarded and opened.get("disableURLInternet") is True):
                continue
            yield Finding(
                f"The domain {name} is public and routes to {door[0]} ({door[1]}), whose http trigger lets "
                "anybody in. Ask callers for a token (`auth: bearer`) or to sign (`auth: function`).",
                domain.urn,
            )


def is_public_domain(name: str) -> bool:
    """True unless the name can only mean something inside one's own network."""
    host = name.removeprefix("*.").lower().rstrip(".")
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not any(host == s or host.endswith(f".{s}") for s in _PRIVATE_SUFFIXES)


def _json_object(text: Any) -> Mapping[str, Any]:
    if not isinstance(text, str):
        return {}
    try:
        value = json.loads(text)
    except ValueError:  # the provider's check reports it
        return {}
    return value if isinstance(value, dict) else {}


# --- monthly-budget --------------------------------------------------------------------------------

_PERCENT: Final = Decimal(100)


def check_budget(
    resources: Sequence[Resource], config: Mapping[str, Any], now: datetime | None = None
) -> Iterator[Finding]:
    """A stack whose reserved pools cost more in a month than they may. now: where the month begins.

    Without a `limit` there is no budget. `busyPercent`: how much of the reserved time is expected to serve;
    by default all of it, so that a budget holds whatever comes. A pool whose cost is not known yet is left
    out, and the others still count.
    """
    if "limit" not in config:
        return
    percent = Decimal(str(config.get("busyPercent", 100)))
    costs = estimate(_as_plan(resources), now)
    known = [cost for cost in (_expected(pool.new, percent) for pool in costs.pools) if cost is not None]
    together = _expected(costs.new, percent)  # priced with the tiers of the sum
    total = sum(known, Decimal(0)) if together is None else together
    limit, currency = Decimal(str(config["limit"])), str(config.get("currency", costs.currency))
    if currency != costs.currency:
        yield Finding(f"The budget is in {currency}, but prices are known in {costs.currency} only.")
    elif total > limit:
        least = "at least " if len(known) < len(costs.pools) else ""
        pools = ", ".join(sorted(pool.name for pool in costs.pools))
        yield Finding(
            f"The reserved pools ({pools}) are expected to cost {least}{total:.2f} {currency} a month with "
            f"{percent}% of their time busy; the budget is {limit:.2f} {currency}. Reserve fewer instances, "
            "for fewer hours (`pool.schedules`), or raise the budget."
        )


def _expected(cost: MonthlyMoney, busy_percent: Decimal) -> Decimal | None:
    if cost.busy is None or cost.idle is None:
        return None
    return cost.idle + (cost.busy - cost.idle) * busy_percent / _PERCENT


def _as_plan(resources: Sequence[Resource]) -> Plan:
    """The stack as it will be, in the form that costs are estimated from."""
    steps = [
        Step(Op.SAME, r.urn, r.type, r.name, True, new=ResourceState(r.urn, r.type, True, inputs=_known(r)))
        for r in resources
        if r.type in (FUNCTION, PROVISION)
    ]
    return Plan("", "", tuple(steps))


def _known(resource: Resource) -> dict[str, Any]:
    return {key: UNKNOWN if value is None else value for key, value in resource.props.items()}


# --- the table -----------------------------------------------------------------------------------

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        name="reserved-pool-idle-billing",
        description="A reserved pool is billed as idle while nobody asks, or says why not.",
        remediation="Set `pool.idle: true`, or give `pool.reason`.",
        severity="high",
        level="mandatory",
        scope="stack",
        check=check_idle_billing,
    ),
    Rule(
        name="image-pinned",
        description="An image is named by digest or by version, never by a tag that moves.",
        remediation="Write `…@sha256:…`, or a tag such as `:v0.32.0`.",
        severity="medium",
        level="mandatory",
        scope="resource",
        check=check_image_pinned,
        settings={"require": {"type": "string", "enum": ["version", "digest"]}},
    ),
    Rule(
        name="monthly-budget",
        description="The reserved pools of a stack stay within its monthly budget.",
        remediation="Reserve fewer instances, or for fewer hours; or raise the budget in policies/config.",
        severity="high",
        level="mandatory",
        scope="stack",
        check=check_budget,
        settings={
            "limit": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
            "currency": {"type": "string", "enum": ["CNY"]},
            "busyPercent": {"type": "integer", "minimum": 0, "maximum": 100},
        },
    ),
    Rule(
        name="no-anonymous-trigger-on-public-domain",
        description="A public domain does not lead to a function that anybody may call.",
        remediation="Set `auth: bearer` or `auth: function`.",
        severity="critical",
        level="mandatory",
        scope="stack",
        check=check_anonymous_domain,
    ),
)

"""The rules, on plain data."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from policies.rules import RULES, Finding, Resource, check_budget, is_public_domain

DIGEST = "sha256:" + "ab" * 32
FN, POOL = "tickover:fc:Function", "tickover:fc:ProvisionConfig"
TRIGGER, DOMAIN = "tickover:fc:Trigger", "tickover:fc:CustomDomain"


def findings(rule_name: str, *resources: Resource, **config: Any) -> list[Finding]:
    (rule,) = [r for r in RULES if r.name == rule_name]
    return list(rule.check(resources, config))


def res(type_token: str, name: str = "chat", parent: dict[str, Any] | None = None, **props: Any) -> Resource:
    return Resource(f"urn:{type_token}::{name}", type_token, name, props, parent or {})


def image(reference: Any, name: str = "chat") -> Resource:
    return res(FN, name, customContainerConfig={"image": reference})


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_every_rule_is_fully_described(rule: Any) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", rule.name)
    assert rule.description.endswith(".")
    assert rule.remediation.endswith(".")
    assert list(rule.check((), {})) == []


class TestIdleBilling:
    NAME = "reserved-pool-idle-billing"

    @pytest.mark.parametrize(
        ("props", "kept"),
        [
            ({"alwaysAllocateCPU": True, "alwaysAllocateGPU": True}, "GPU and CPU"),
            ({}, "GPU and CPU"),
            ({"alwaysAllocateCPU": True, "alwaysAllocateGPU": False}, "CPU"),
            ({"alwaysAllocateCPU": False, "alwaysAllocateGPU": True}, "GPU"),
        ],
    )
    def test_a_pool_that_keeps_something_needs_a_reason(self, props: dict[str, Any], kept: str) -> None:
        pool = res(POOL, defaultTarget=1, **props)
        (finding,) = findings(self.NAME, pool)
        assert f"keeps {kept} while nobody asks" in finding.message
        assert finding.urn == pool.urn
        assert findings(self.NAME, res(POOL, parent={"reason": "first byte"}, defaultTarget=1, **props)) == []
        assert findings(self.NAME, res(POOL, parent={"reason": "  "}, defaultTarget=1, **props)) != []

    def test_an_idling_or_empty_pool_is_fine(self) -> None:
        off = {"alwaysAllocateCPU": False, "alwaysAllocateGPU": False}
        assert findings(self.NAME, res(POOL, defaultTarget=3, **off)) == []
        assert findings(self.NAME, res(POOL, defaultTarget=0)) == []

    def test_a_schedule_alone_makes_a_pool(self) -> None:
        assert findings(self.NAME, res(POOL, defaultTarget=0, scheduledActions=[{"target": 2}]))

    def test_what_is_not_known_yet_is_no_finding(self) -> None:
        unknown = res(POOL, defaultTarget=1, alwaysAllocateCPU=None, alwaysAllocateGPU=None)
        assert findings(self.NAME, unknown) == []


class TestImagePinned:
    NAME = "image-pinned"

    @pytest.mark.parametrize(
        "reference", [f"a/b@{DIGEST}", f"a/b:latest@{DIGEST}", "a/b:v0.32.0", "process://local", None]
    )
    def test_pinned(self, reference: str | None) -> None:
        assert findings(self.NAME, image(reference)) == []

    @pytest.mark.parametrize(
        ("reference", "said"),
        [
            ("a/b", "no tag, which means latest"),
            ("a/b:latest", "the tag `latest`, which moves"),
            ("reg:5000/a", "no tag, which means latest"),
            ("a/b:main", "the tag `main`, which moves"),
            ("a/B:v1.0", "cannot be read"),
        ],
    )
    def test_moving(self, reference: str, said: str) -> None:
        (finding,) = findings(self.NAME, image(reference))
        assert said in finding.message
        assert reference in finding.message

    def test_a_digest_may_be_required(self) -> None:
        assert findings(self.NAME, image(f"a/b@{DIGEST}"), require="digest") == []
        assert findings(self.NAME, image("process://local"), require="digest") == []
        (finding,) = findings(self.NAME, image("a/b:v0.32.0"), require="digest")
        assert "by tag only" in finding.message

    def test_all_images_are_judged(self) -> None:
        assert len(findings(self.NAME, image("a", "x"), image("b", "y"), image("c:v1.0", "z"))) == 2


class TestAnonymousDomain:
    NAME = "no-anonymous-trigger-on-public-domain"

    @staticmethod
    def door(auth: str | None, qualifier: str = "live", **more: Any) -> Resource:
        config = None if auth is None else json.dumps({"authType": auth, **more})
        return res(
            TRIGGER, functionName="chat-prod", qualifier=qualifier, triggerType="http", triggerConfig=config
        )

    @staticmethod
    def domain(name: Any = "chat.example.com", qualifier: str = "live", **more: Any) -> Resource:
        route = {"path": "/*", "functionName": "chat-prod", "qualifier": qualifier}
        return res(DOMAIN, domainName=name, routeConfig={"routes": [route]}, **more)

    def test_an_open_door_behind_a_public_name(self) -> None:
        domain = self.domain()
        (finding,) = findings(self.NAME, self.door("anonymous"), domain)
        assert finding.urn == domain.urn
        assert "chat.example.com is public and routes to chat-prod (live)" in finding.message

    @pytest.mark.parametrize("auth", ["bearer", "function", "jwt", "basic", None])
    def test_a_closed_or_unknown_door(self, auth: str | None) -> None:
        assert findings(self.NAME, self.door(auth), self.domain()) == []

    def test_a_door_of_another_qualifier(self) -> None:
        assert findings(self.NAME, self.door("anonymous", "canary"), self.domain()) == []

    def test_a_guarded_domain_needs_the_triggers_own_address_closed(self) -> None:
        guard = {"authConfig": {"authType": "jwt"}}
        assert findings(self.NAME, self.door("anonymous"), self.domain(**guard))
        closed = self.door("anonymous", disableURLInternet=True)
        assert findings(self.NAME, closed, self.domain(**guard)) == []
        assert findings(self.NAME, closed, self.domain())

    def test_a_route_not_known_yet_is_no_finding(self) -> None:
        route = {"path": "/*", "functionName": None, "qualifier": "live"}
        domain = res(DOMAIN, domainName="chat.example.com", routeConfig={"routes": [route]})
        door = res(
            TRIGGER,
            functionName=None,
            qualifier="live",
            triggerType="http",
            triggerConfig='{"authType": "anonymous"}',
        )
        assert findings(self.NAME, door, domain) == []

    def test_an_unknown_domain_is_no_finding(self) -> None:
        assert findings(self.NAME, self.door("anonymous"), self.domain(None)) == []

    @pytest.mark.parametrize(
        ("name", "public"),
        [
            ("chat.example.com", True),
            ("*.chat.com", True),
            ("8.8.8.8", True),
            ("chat.localhost", False),
            ("chat.test", False),
            ("box.lan", False),
            ("box", False),
            ("192.168.1.4", False),
            ("mylocal.com", True),
        ],
    )
    def test_which_names_are_public(self, name: str, public: bool) -> None:
        assert is_public_domain(name) is public


class TestBudget:
    NAME = "monthly-budget"
    NOW = datetime(2026, 1, 1, tzinfo=UTC)
    ADA = res(FN, functionName="f", cpu=8, memorySize=65536, diskSize=512, gpuConfig={
        "gpuType": "fc.gpu.ada.1", "gpuMemorySize": 49152
    })  # fmt: skip

    @staticmethod
    def pool(name: str = "p", idle: bool = True, **props: Any) -> Resource:
        switches = {"alwaysAllocateCPU": not idle, "alwaysAllocateGPU": not idle}
        return res(
            POOL, name, functionName="f", qualifier="live", **{"defaultTarget": 1, **switches, **props}
        )

    def messages(self, *resources: Resource, **config: Any) -> list[str]:
        return [f.message for f in check_budget(resources, config, self.NOW)]

    def test_no_limit_no_budget(self) -> None:
        assert self.messages(self.ADA, self.pool()) == []

    # 30 days of ada.1 48 GB, 8 vCPU, 64 GB at list price: idle 4,561.92, always active 27,712.64 CNY.
    @pytest.mark.parametrize(
        ("percent", "idle", "fits", "too_small"),
        [(0, True, "4562", "4561"), (100, True, "27713", "27712"), (0, False, "27713", "27712")],
    )
    def test_the_limit_is_the_published_cost(
        self, percent: int, idle: bool, fits: str, too_small: str
    ) -> None:
        stack = (self.ADA, self.pool(idle=idle))
        assert self.messages(*stack, limit=fits, busyPercent=percent) == []
        (message,) = self.messages(*stack, limit=too_small, busyPercent=percent)
        assert f"the budget is {too_small}.00 CNY" in message
        assert f"{percent}% of their time busy" in message

    def test_without_a_share_all_time_counts_as_busy(self) -> None:
        assert self.messages(self.ADA, self.pool(), limit="20000") != []

    def test_all_pools_count_together(self) -> None:
        stack = (self.ADA, self.pool("p"), self.pool("q"))
        (message,) = self.messages(*stack, limit="9000", busyPercent=0)
        assert "(p, q)" in message

    def test_a_pool_not_known_yet_hides_no_other(self) -> None:
        stack = (self.ADA, self.pool("p"), self.pool("q", defaultTarget=None))
        assert self.messages(*stack, limit="5000", busyPercent=0) == []
        (message,) = self.messages(*stack, limit="4000", busyPercent=0)
        assert "at least 4561.92 CNY" in message

    def test_another_currency_is_said_not_guessed(self) -> None:
        (message,) = self.messages(self.ADA, self.pool(), limit="1", currency="EUR")
        assert "prices are known in CNY only" in message

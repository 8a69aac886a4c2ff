"""Saved plans made by hand, and a crypter that costs nothing."""

from __future__ import annotations

import base64
from typing import Any

from tickover.engine import savedplan
from tickover.engine.goal import Alias, Goal
from tickover.engine.plan import Op
from tickover.engine.state import CustomTimeouts, SecretsProvider
from tickover.engine.values import UNKNOWN, Secret
from tickover.engine.wire import UNKNOWN_STRING

URN = "urn:pulumi:dev::app::test:index:Thing::a"
ROOT = "urn:pulumi:dev::app::pulumi:pulumi:Stack::app-dev"
PROVIDER = "urn:pulumi:dev::app::pulumi:providers:test::default"


class Reversing:
    """A crypter that costs nothing, and does not leave its text readable."""

    def __init__(self, salt: str = "v1:salt") -> None:
        self.provider = SecretsProvider("passphrase", {"salt": salt})

    def encrypt(self, plaintext: str) -> str:
        return base64.b64encode(plaintext[::-1].encode("utf-8", "surrogatepass")).decode()

    def decrypt(self, ciphertext: str) -> str:
        return base64.b64decode(ciphertext).decode("utf-8", "surrogatepass")[::-1]


CRYPTER = Reversing()


def binding(**changed: Any) -> savedplan.Binding:
    given_: dict[str, Any] = {
        "state": "ab" * 32,
        "config": {"app:size": "3", "app:token": "hunter2"},
        "secret_keys": ("app:token",),
        "program": {"__main__.py": "1" * 64, "Pulumi.yaml": "2" * 64},
        "providers": {"test": "1.2.0"},
        "tool": "0.1.0",
        "salt": "00" * 16,
    }
    given_ |= changed
    return savedplan.bind("app", "dev", **given_)


def goal(**changed: Any) -> Goal:
    given_: dict[str, Any] = {
        "urn": URN,
        "type": "test:index:Thing",
        "name": "a",
        "custom": True,
        "parent": ROOT,
        "inputs": {"size": 3, "token": Secret("hunter2"), "url": UNKNOWN},
        "provider": f"{PROVIDER}::{UNKNOWN_STRING}",
        "dependencies": (ROOT,),
        "property_dependencies": {"size": (ROOT,)},
        "protect": True,
        "aliases": (Alias(name="b"),),
        "custom_timeouts": CustomTimeouts(create=5.0),
        "replacement_trigger": Secret([1]),
    }
    return Goal(**(given_ | changed))


def planned(*ops: Op, **changed: Any) -> savedplan.PlannedResource:
    made = goal(**changed)
    return savedplan.PlannedResource(URN, ops or (Op.CREATE,), savedplan.planned_goal(made, made.inputs))


def plan_of(*resources: savedplan.PlannedResource, **options: Any) -> savedplan.SavedPlan:
    return savedplan.SavedPlan(binding(), "2026-11-23T04:00:00Z", options, {r.urn: r for r in resources})


def read_back(plan: savedplan.SavedPlan) -> savedplan.SavedPlan:
    return savedplan.from_bytes(savedplan.to_bytes(plan, CRYPTER), CRYPTER)

"""Suspending and waking one instance.

Owns: the steps of an instance's way into idleness and back. Promises: `suspend` leaves it frozen or running,
never between; `wake` ends within its deadline. Never: decides when.
"""

from __future__ import annotations

from tickover.host.runtimes.base import Condition, Runtime, RuntimeFailed
from tickover.host.warmup import HealthRule, until_healthy


async def suspend(runtime: Runtime, ref: str) -> bool:
    """Freeze it. False if it goes on running instead; raises RuntimeFailed if it is gone."""
    try:
        await runtime.freeze(ref)
    except RuntimeFailed:
        if runtime.condition(ref) is Condition.RUNNING:
            return False
        raise
    return True


async def wake(runtime: Runtime, ref: str, port: int, rule: HealthRule, seconds: float) -> str | None:
    """Thaw it and see that it answers: None, or why it does not."""
    try:
        await runtime.thaw(ref)
    except RuntimeFailed as error:
        return error.reason
    now = HealthRule(rule.path, 0, rule.timeout_seconds, 1)
    return await until_healthy(runtime.host, port, now, seconds)

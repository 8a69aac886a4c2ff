"""Is an instance that is up still healthy: FC's counting of checks.

Owns: the thresholds of a spec and the count of checks in a row. Promises: pure. Never: checks anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickover.fc.function import Function

DEFAULT_PERIOD_SECONDS = 3
DEFAULT_FAILURES = 3
DEFAULT_SUCCESSES = 1


@dataclass(frozen=True, slots=True)
class Health:
    """The present verdict, and how many checks in a row spoke against it."""

    is_good: bool = True
    against: int = 0


@dataclass(frozen=True, slots=True)
class Watchdog:
    """How often to check, and how many checks in a row turn the verdict."""

    period_seconds: int
    failures: int
    successes: int

    def after(self, health: Health, passed: bool) -> Health:
        """The verdict after one more check."""
        if passed == health.is_good:
            return Health(health.is_good)
        against = health.against + 1
        needed = self.failures if health.is_good else self.successes
        return Health(not health.is_good) if against >= needed else Health(health.is_good, against)


def watchdog_of(spec: Function) -> Watchdog | None:
    """None for a spec without a path to check: then only its process is watched."""
    container = spec.custom_container_config
    given = container.health_check_config if container else None
    if given is None or not given.http_get_url:
        return None
    return Watchdog(
        given.period_seconds or DEFAULT_PERIOD_SECONDS,
        given.failure_threshold or DEFAULT_FAILURES,
        given.success_threshold or DEFAULT_SUCCESSES,
    )

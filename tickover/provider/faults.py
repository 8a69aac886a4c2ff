"""What FC's errors mean to a person: the one mapping to `TickoverError`.

Owns: the table of codes and the words. Promises: the object is named, FC's own message is kept, no secret.
Never: retries or calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickover.errors import Exit, TickoverError
from tickover.fc.client import Connection, Unreachable
from tickover.fc.errors import FcError
from tickover.provider.config import not_running


@dataclass(frozen=True, slots=True)
class Meaning:
    """How one class of FC errors is told."""

    code: str
    summary: str
    exit_code: Exit = Exit.RESOURCE
    hint: str = ""
    retry_after_seconds: float | None = None


_BY_CODE: dict[str, Meaning] = {
    "SignatureNotMatch": Meaning("wrong-credentials", "Wrong credentials", Exit.AUTHENTICATION),
    "InvalidAccessKeyID": Meaning("wrong-credentials", "Wrong credentials", Exit.AUTHENTICATION),
    "AccessDenied": Meaning("access-denied", "Access denied", Exit.AUTHENTICATION),
    "ProvisionConfigExist": Meaning("provision-config-exists", "Reserved pool still exists"),
    "InstanceMetricsRequired": Meaning(
        "instance-metrics-required",
        "Instance metrics are off",
        hint="logConfig: {enableInstanceMetrics: true}",
    ),
}
_BY_STATUS: dict[int, Meaning] = {
    400: Meaning("refused-by-fc", "FC refused the values"),
    401: Meaning("wrong-credentials", "Wrong credentials", Exit.AUTHENTICATION),
    403: Meaning("access-denied", "Access denied", Exit.AUTHENTICATION),
    404: Meaning("not-found", "Object not found"),
    409: Meaning("conflict", "Object conflicts with another"),
    412: Meaning("function-not-started", "Function did not start"),
    429: Meaning("out-of-capacity", "Out of capacity", retry_after_seconds=10.0),
    503: Meaning("out-of-capacity", "Out of capacity", retry_after_seconds=30.0),
}
_OTHER = Meaning("fc-failed", "FC failed")

# Trouble that passes by itself: the call may be repeated.
PASSING_CODES = frozenset({"ConcurrentUpdateError", "Throttling", "ThrottlingUser", "ResourceThrottled"})


def is_missing(error: FcError) -> bool:
    """True if the answer says that the object is not there."""
    return error.http_status == 404 and error.code.endswith("NotFound")


def is_existing(error: FcError) -> bool:
    """True if the answer says that an object of that name is there already."""
    return error.http_status == 409 and error.code.endswith(("AlreadyExists", "AlreadyExist"))


def is_passing(error: FcError) -> bool:
    """True if the same call may succeed a moment later."""
    return error.code in PASSING_CODES


def explain(error: FcError | Unreachable, what: str, connection: Connection, target: str) -> TickoverError:
    """error as a person reads it. what: the object, for example ``function chat-dev``."""
    if isinstance(error, Unreachable):
        if target == "host":
            return not_running(f"Nothing answers at {connection.endpoint}: {error.reason}.")
        detail = f"{connection.endpoint} did not answer while tickover worked on {what}: {error.reason}."
        return TickoverError("fc-unreachable", "FC cannot be reached", detail, retry_after_seconds=5.0)
    meaning = _BY_CODE.get(error.code) or _BY_STATUS.get(error.http_status) or _OTHER
    hint = meaning.hint
    if meaning.exit_code is Exit.AUTHENTICATION and target == "host":
        hint = "tickover host status"
    return TickoverError(
        meaning.code,
        meaning.summary,
        f"{what}: FC at {connection.endpoint} answered {error.http_status} {error.code}: {error.message}",
        address=what,
        hint=hint,
        exit_code=meaning.exit_code,
        retry_after_seconds=meaning.retry_after_seconds,
    )

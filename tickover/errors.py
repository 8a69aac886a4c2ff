"""The one error form of tickover and the one table of exit codes.

Owns: `TickoverError` and how a failure becomes an exit code. Promises: a summary of fixed words, a
detail in full sentences, never a secret value. Never: prints, logs or retries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Process exit codes; the numbers are Pulumi's stable table."""

    OK = 0
    ERROR = 1
    CONFIGURATION = 2
    AUTHENTICATION = 3
    RESOURCE = 4
    POLICY = 5
    STACK_NOT_FOUND = 6
    CHANGES = 7
    CANCELLED = 8
    TIMEOUT = 9
    INTERNAL = 255


@dataclass(eq=False)
class TickoverError(Exception):
    """A failure a person can act on.

    code: stable kebab-case identifier, e.g. ``stack-not-found``.
    summary: fixed words, at most six, no names.
    detail: full sentences: what is wrong with which object and why.
    address: the object: a URN, a config key path, a file relative to the project; may be empty.
    hint: a command or edit that helps, shown alone on an indented line; may be empty.
    exit_code: what the process ends with.
    retry_after_seconds: set when trying again may work.
    """

    code: str
    summary: str
    detail: str = ""
    address: str = ""
    hint: str = ""
    exit_code: Exit = Exit.ERROR
    retry_after_seconds: float | None = field(default=None)

    def __str__(self) -> str:
        return render(self)

    def as_json(self) -> dict[str, object]:
        """The error as a JSON object: code, summary, detail, address, hint, exit_code."""
        return {
            "code": self.code,
            "summary": self.summary,
            "detail": self.detail,
            "address": self.address,
            "hint": self.hint,
            "exit_code": int(self.exit_code),
        }


def error_from_json(fields: Mapping[str, Any]) -> TickoverError:
    """An error that another process has told with `as_json`."""
    return TickoverError(
        code=str(fields["code"]),
        summary=str(fields["summary"]),
        detail=str(fields["detail"]),
        address=str(fields["address"]),
        hint=str(fields["hint"]),
        exit_code=Exit(int(fields["exit_code"])),
    )


class ConfigError(TickoverError):
    """Flags, stack config or program arguments that cannot be used (exit 2)."""

    def __init__(self, code: str, summary: str, detail: str = "", address: str = "", hint: str = "") -> None:
        super().__init__(code, summary, detail, address, hint, Exit.CONFIGURATION)


def render(error: TickoverError) -> str:
    """Text form: ``error: summary [address]``, the detail, then the hint indented by four."""
    head = f"{error.summary} [{error.address}]" if error.address else error.summary
    parts = [head]
    if error.detail:
        parts.append(error.detail)
    if error.hint:
        parts.append("\n".join(f"    {line}" for line in error.hint.splitlines()))
    return "\n".join(parts)

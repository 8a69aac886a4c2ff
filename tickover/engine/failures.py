"""What went wrong in a run, each cause once.

Owns: the list of failures and warnings of an operation, and the error that an exception of a provider
becomes. Promises: the first cause is kept, its echoes through the program are not; no secret of the
resource at hand is in a message. Never: prints.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tickover.engine.provider import CheckFailure, Severity, Unavailable, Unimplemented
from tickover.engine.values import PropertyValue, Secret
from tickover.errors import Exit, TickoverError

Say = Callable[[Severity, str, str], None]
# Shorter ones ("1", "on") occur in any sentence; blotting them out would only mark where they are.
_SHORTEST_SECRET: Final = 4


@dataclass(slots=True)
class Failures:
    """say: severity, URN, message; called once for each."""

    say: Say
    errors: dict[str, TickoverError] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, urn: str, error: TickoverError) -> None:
        """urn: the resource at fault; empty for what is nobody's, such as the program or the state."""
        if urn in self.errors or any(known is error for known in self.errors.values()):
            return
        self.errors[urn] = error
        self.say(Severity.ERROR, urn, str(error))

    def warn(self, urn: str, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)
            self.say(Severity.WARNING, urn, message)

    def clear(self) -> None:
        """Forget them: something else explains them all."""
        self.errors.clear()

    def __bool__(self) -> bool:
        return bool(self.errors)

    @property
    def exit_code(self) -> Exit:
        """The code of the one kind of failure there was; RESOURCE where they differ."""
        codes = {_exit_code(urn, error) for urn, error in self.errors.items()}
        if Exit.INTERNAL in codes:
            return Exit.INTERNAL
        return codes.pop() if len(codes) == 1 else Exit.RESOURCE


def _exit_code(urn: str, error: TickoverError) -> Exit:
    """What a provider says of a resource without a code of its own is a resource error."""
    return Exit.RESOURCE if urn and error.exit_code is Exit.ERROR else error.exit_code


def check_failed(urn: str, failures: tuple[CheckFailure, ...], *properties: PropertyValue) -> None:
    """Raises ConfigError-like TickoverError with every failure that Check found."""
    if not failures:
        return
    lines = [f"{f.property}: {f.reason}" if f.property else f.reason for f in failures]
    detail = without_secrets("\n".join(lines), *properties)
    raise TickoverError(
        "bad-inputs", "Resource inputs are not valid", detail, urn, exit_code=Exit.CONFIGURATION
    )


def explained(urn: str, error: Exception, *properties: PropertyValue) -> TickoverError:
    """The error to report for what a provider raised. properties: whose secrets it must not tell."""
    match error:
        case TickoverError():
            safe = without_secrets(error.detail, *properties)
            return error if safe == error.detail else _with_detail(error, safe)
        case Unimplemented():
            what = f"Its provider does not know how to do this: {error}"
            return TickoverError("not-supported", "Provider cannot do this", what, urn)
        case Unavailable():
            what = f"Its provider cannot answer before its own configuration is known: {error}"
            return TickoverError("not-configured", "Provider is not configured", what, urn)
        case _:
            text = without_secrets(f"{type(error).__name__}: {error}", *properties)
            return TickoverError(
                "provider-bug",
                "Provider failed unexpectedly",
                f"{text}\nIt came from {_origin(error)}. This is a bug, in the provider or in tickover.",
                urn,
                exit_code=Exit.INTERNAL,
            )


def _with_detail(error: TickoverError, detail: str) -> TickoverError:
    return TickoverError(
        error.code,
        error.summary,
        detail,
        error.address,
        error.hint,
        error.exit_code,
        error.retry_after_seconds,
    )


def without_secrets(text: str, *properties: PropertyValue) -> str:
    """text, with every secret text or number inside properties blotted out."""
    for secret in sorted({s for p in properties for s in _secrets(p)}, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return text


def _secrets(value: PropertyValue, inside: bool = False) -> Iterator[str]:
    match value:
        case Secret():
            yield from _secrets(value.value, True)
        case dict():
            for item in value.values():
                yield from _secrets(item, inside)
        case list():
            for item in value:
                yield from _secrets(item, inside)
        case str() | int() | float() if inside and len(str(value)) >= _SHORTEST_SECRET:
            yield str(value)


def _origin(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} in {last.name}"

"""What went wrong in a run, each cause once.

Owns: the list of failures and warnings of an operation. Promises: sorted by address; the first cause is
kept, its echoes through the program are not. Never: prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tickover.engine.provider import CheckFailure, Severity
from tickover.errors import Exit, TickoverError

Say = Callable[[Severity, str, str], None]


@dataclass(slots=True)
class Failures:
    """say: severity, URN, message; called once for each."""

    say: Say
    errors: dict[str, TickoverError] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, urn: str, error: TickoverError) -> None:
        if urn not in self.errors:
            self.errors[urn] = error
            self.say(Severity.ERROR, urn, str(error))

    def warn(self, urn: str, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)
            self.say(Severity.WARNING, urn, message)

    def __bool__(self) -> bool:
        return bool(self.errors)

    @property
    def exit_code(self) -> Exit:
        """The code of the one kind of failure there was; RESOURCE where they differ."""
        codes = {error.exit_code for error in self.errors.values()}
        if len(codes) == 1 and (code := codes.pop()) is not Exit.ERROR:
            return code
        return Exit.RESOURCE


def check_failed(urn: str, failures: tuple[CheckFailure, ...]) -> None:
    """Raises ConfigError-like TickoverError with every failure that Check found."""
    if not failures:
        return
    lines = [f"{f.property}: {f.reason}" if f.property else f.reason for f in failures]
    raise TickoverError(
        "bad-inputs", "Resource inputs are not valid", "\n".join(lines), urn, exit_code=Exit.CONFIGURATION
    )

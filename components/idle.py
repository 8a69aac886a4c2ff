"""What instances of a host do while nobody asks, as the function carries it.

Owns: `IdleArgs` and its lowering into the function's environment variables: FC has no fields for it, and its
API carries variables unchanged. Promises: the host's own names and limits; a variable that was given by hand
as well is refused. Never: reads a variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal

from tickover.errors import ConfigError
from tickover.host import idle_settings as host

Rung = Literal["none", "freeze", "sleep", "checkpoint"]
# Field → the variable that carries it.
VARIABLES: Final[Mapping[str, str]] = {
    "linger_seconds": host.LINGER_VARIABLE,
    "deepest": host.DEEPEST_VARIABLE,
    "deep_after_seconds": host.DEEP_AFTER_VARIABLE,
    "wake_ahead_seconds": host.WAKE_AHEAD_VARIABLE,
    "max_age_seconds": host.MAX_AGE_VARIABLE,
    "sleep_level": host.LEVEL_VARIABLE,
}


@dataclass(frozen=True, slots=True)
class IdleArgs:
    """None: the host's own setting. For a host only; on the cloud the platform decides.

    linger_seconds: empty for so long before an instance goes idle. deepest: how far down it goes then.
    deep_after_seconds: asleep for so long before its checkpoint. wake_ahead_seconds: woken
    so long before each scheduled action. max_age_seconds: an older one is replaced when it is empty.
    sleep_level: vLLM's; 2 needs no host memory for the weights, and reads them again at each wake.
    """

    linger_seconds: float | None = None
    deepest: Rung | None = None
    deep_after_seconds: float | None = None
    wake_ahead_seconds: float | None = None
    max_age_seconds: float | None = None
    sleep_level: Literal[1, 2] | None = None

    def given(self) -> Mapping[str, float | str]:
        """What was said, by field."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def variables(self) -> Mapping[str, str]:
        """The environment variables that say the same."""
        return {
            VARIABLES[name]: value if isinstance(value, str) else f"{value:.15g}"
            for name, value in self.given().items()
        }


def check_idle(name: str, environment: Mapping[str, str], idle: IdleArgs) -> None:
    """Raise ConfigError for settings of function `name` that are given twice or cannot be."""
    variables = idle.variables()
    problems = [
        f"`idle.{field}` and `environment.{variable}` cannot both be given"
        for field, variable in VARIABLES.items()
        if variable in variables and variable in environment
    ]
    # An output is not known yet; the host checks it when the function is put.
    known = {key: value for key, value in {**environment, **variables}.items() if isinstance(value, str)}
    problems += host.idle_problems(known)
    if problems:
        raise ConfigError(
            "bad-idle", "Idle settings are not valid", f"{name}: {'; '.join(problems)}", address=name
        )

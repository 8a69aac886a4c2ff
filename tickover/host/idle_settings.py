"""What a function says about its instances' idling, age, start and prefix affinity.

Owns: the environment variables that carry it (the FC API has no fields for it, and its clients carry
variables unchanged), their limits, and their reading. Promises: pure; all problems at once, each with its
property path; what cannot be read leaves the host's own setting in force. Never: decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tickover.host.model import Deepest

LINGER_VARIABLE: Final = "TICKOVER_LINGER_SECONDS"
DEEPEST_VARIABLE: Final = "TICKOVER_IDLE_DEEPEST"
DEEP_AFTER_VARIABLE: Final = "TICKOVER_IDLE_DEEP_AFTER_SECONDS"
WAKE_AHEAD_VARIABLE: Final = "TICKOVER_WAKE_AHEAD_SECONDS"
MAX_AGE_VARIABLE: Final = "TICKOVER_MAX_AGE_SECONDS"
LEVEL_VARIABLE: Final = "TICKOVER_SLEEP_LEVEL"
START_DEADLINE_VARIABLE: Final = "TICKOVER_START_DEADLINE_SECONDS"
DRAIN_VARIABLE: Final = "TICKOVER_DRAIN_SECONDS"
PREFIX_VARIABLE: Final = "TICKOVER_PREFIX_AFFINITY"

_DAY_SECONDS: Final = 86_400.0
# Variable → least and most. An instance that is replaced every few seconds serves nobody.
SECONDS: Final[Mapping[str, tuple[float, float]]] = {
    LINGER_VARIABLE: (0.0, _DAY_SECONDS),
    DEEP_AFTER_VARIABLE: (0.0, 30 * _DAY_SECONDS),
    WAKE_AHEAD_VARIABLE: (0.0, _DAY_SECONDS),
    MAX_AGE_VARIABLE: (60.0, 366 * _DAY_SECONDS),
}
VARIABLES: Final = (*SECONDS, DEEPEST_VARIABLE, LEVEL_VARIABLE)  # of idling and age
LIVE_VARIABLES: Final = (
    *VARIABLES,
    DRAIN_VARIABLE,
    PREFIX_VARIABLE,
)  # a change in them needs no new instance
_BOUNDS: Final = {
    **SECONDS,
    START_DEADLINE_VARIABLE: (1.0, _DAY_SECONDS),
    DRAIN_VARIABLE: (0.0, _DAY_SECONDS),
}
_ALL: Final = (*LIVE_VARIABLES, START_DEADLINE_VARIABLE)
_LEVELS: Final[Mapping[str, int]] = {"1": 1, "2": 2}
_SWITCH: Final[Mapping[str, bool]] = {"on": True, "off": False}
_SHOWN_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class IdleSettings:
    """None: not said.

    linger_seconds: empty for so long before it goes down. deepest: how far down. deep_after_seconds:
    asleep for so long before the driver takes the rest. wake_ahead_seconds: awake so long before a scheduled
    action. max_age_seconds: older than that, it is replaced when it is empty. sleep_level: 1 keeps the
    weights in host memory, 2 reads them from the model's files at each wake. start_deadline_seconds: how
    long a process may take until it serves. drain_seconds: how long a replaced instance may go on with the
    requests that it has. prefix_affinity: prompts that begin alike go to the same instance.
    """

    linger_seconds: float | None = None
    deepest: Deepest | None = None
    deep_after_seconds: float | None = None
    wake_ahead_seconds: float | None = None
    max_age_seconds: float | None = None
    sleep_level: int | None = None
    start_deadline_seconds: float | None = None
    drain_seconds: float | None = None
    prefix_affinity: bool | None = None


def idle_settings(environment: Mapping[str, str] | None) -> IdleSettings:
    """What a function's environment variables say."""
    return _read(_values(environment))[0]


def idle_problems(environment: Mapping[str, str] | None) -> tuple[str, ...]:
    """What in them cannot be read."""
    return _read(_values(environment))[1]


def _values(environment: Mapping[str, str] | None) -> tuple[str, ...]:
    return tuple(environment.get(name, "") for name in _ALL) if environment else ("",) * len(_ALL)


@lru_cache(maxsize=1024)  # asked at the end of every request
def _read(values: tuple[str, ...]) -> tuple[IdleSettings, tuple[str, ...]]:
    problems: list[str] = []
    given = dict(zip(_ALL, values, strict=True))
    seconds = {name: _seconds(name, given[name], problems) for name in _BOUNDS}
    settings = IdleSettings(
        linger_seconds=seconds[LINGER_VARIABLE],
        deepest=_deepest(given[DEEPEST_VARIABLE], problems),
        deep_after_seconds=seconds[DEEP_AFTER_VARIABLE],
        wake_ahead_seconds=seconds[WAKE_AHEAD_VARIABLE],
        max_age_seconds=seconds[MAX_AGE_VARIABLE],
        sleep_level=_level(given[LEVEL_VARIABLE], problems),
        start_deadline_seconds=seconds[START_DEADLINE_VARIABLE],
        drain_seconds=seconds[DRAIN_VARIABLE],
        prefix_affinity=_switch(given[PREFIX_VARIABLE], problems),
    )
    return settings, tuple(problems)


def _seconds(name: str, text: str, problems: list[str]) -> float | None:
    if not text:
        return None
    least, most = _BOUNDS[name]
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if least <= found <= most:  # false for "nan" too
        return found
    problems.append(_problem(name, f"a number of seconds from {least:.0f} to {most:.0f}", text))
    return None


def _deepest(text: str, problems: list[str]) -> Deepest | None:
    if not text:
        return None
    found = next((rung for rung in Deepest if rung.value == text), None)
    if found is None:
        *others, last = (rung.value for rung in Deepest)
        problems.append(_problem(DEEPEST_VARIABLE, f"{', '.join(others)} or {last}", text))
    return found


def _level(text: str, problems: list[str]) -> int | None:
    if text and text not in _LEVELS:
        problems.append(_problem(LEVEL_VARIABLE, "1 or 2", text))
    return _LEVELS.get(text)


def _switch(text: str, problems: list[str]) -> bool | None:
    if text and text not in _SWITCH:
        problems.append(_problem(PREFIX_VARIABLE, "on or off", text))
    return _SWITCH.get(text)


def _problem(name: str, wanted: str, text: str) -> str:
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return f"environmentVariables.{name}: {name} must be {wanted}, but is {shown!r}."

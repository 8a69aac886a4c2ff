"""Schedule expressions in a pool's inputs.

Owns: their violations as check failures. Promises: all of them, each with its path. Never: computes a target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tickover.engine.provider import CheckFailure
from tickover.schedule import ScheduleError, parse, parse_action, parse_moment, parse_zone

# A timetable that fires always, to look at a window alone.
_EVERY_DAY = "cron(0 0 0 * * *)"


def problems(actions: Sequence[Any]) -> tuple[CheckFailure, ...]:
    """What is wrong with the expressions, zones and windows of scheduledActions."""
    found: list[CheckFailure] = []
    for index, action in enumerate(actions):
        if isinstance(action, Mapping):
            for name, reason in _action_problems(action):
                found.append(CheckFailure(f"scheduledActions[{index}].{name}", reason))
    return tuple(found)


def _action_problems(action: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of property and reason; a window is only looked at in a zone that can be read."""
    zone_text, start, end = (_text(action, name) for name in ("timeZone", "startTime", "endTime"))
    expression = _text(action, "scheduleExpression")
    found = _failing(
        ("scheduleExpression", partial(parse, expression or _EVERY_DAY)),
        ("timeZone", partial(parse_zone, zone_text)),
    )
    if any(name == "timeZone" for name, _ in found):
        return found
    zone = parse_zone(zone_text)
    given = [(name, text) for name, text in (("startTime", start), ("endTime", end)) if text]
    moments = _failing(*((name, partial(parse_moment, text, zone, name)) for name, text in given))
    window = partial(parse_action, _EVERY_DAY, 0, start_time=start, end_time=end, time_zone=zone_text)
    return found + (moments or _failing(("endTime", window)))


def _text(action: Mapping[str, Any], name: str) -> str | None:
    value = action.get(name)
    return value if isinstance(value, str) and value else None


def _failing(*checks: tuple[str, Callable[[], object]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, check in checks:
        try:
            check()
        except ScheduleError as error:
            found.append((name, error.message))
    return found

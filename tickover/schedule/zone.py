"""Zones and moments of a timetable: IANA names, and times that are UTC without one.

Owns: how FC's timeZone, startTime and endTime are read. Promises: moments come out in UTC. Never: uses the
zone of the machine.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tickover.schedule.errors import ScheduleError

_MOMENT: Final = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z?)")


def parse_zone(name: str | None) -> tzinfo:
    """The zone of an IANA name; UTC for none. Raises ScheduleError."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        close = difflib.get_close_matches(name, available_timezones(), n=1, cutoff=0.6)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ScheduleError(
            f"{name!r} is not a time zone; write an IANA name such as Asia/Shanghai.{hint}", field="timeZone"
        ) from error


def parse_moment(text: str, zone: tzinfo, field: str = "") -> datetime:
    """``2026-06-09T10:00:00Z``, or without Z a local time of the zone, in UTC. Raises ScheduleError."""
    shape = _MOMENT.fullmatch(text)
    if shape is None:
        raise ScheduleError(
            f"{text!r} is not a moment; write yyyy-mm-ddThh:mm:ss, with a Z at the end for UTC.", field=field
        )
    if shape[3] and zone is not UTC:
        raise ScheduleError(
            f"{text!r} ends with Z, which is UTC, but a timeZone is given; leave one of them out.",
            field=field,
        )
    try:
        local = datetime.fromisoformat(shape[1])
    except ValueError as error:
        raise ScheduleError(f"{text!r} is not a moment: {error}.", field=field) from error
    fraction = int((shape[2] or "0").ljust(6, "0")[:6])
    return local.replace(microsecond=fraction, tzinfo=zone).astimezone(UTC)

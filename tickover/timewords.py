"""Times as people write them on a command line.

Owns: the words. Promises: pure (now and the local zone come in); what is not understood is an error that
lists what is. Never: reads a clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from tickover.errors import ConfigError

_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)(?:\s+ago)?\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
Localise = Callable[[datetime], datetime]


def local(moment: datetime) -> datetime:
    """A time without zone as one of this machine's zone."""
    return moment.astimezone()


def parse_when(text: str, now: datetime, flag: str, localise: Localise = local) -> datetime:
    """A moment: an ISO time (local unless it has an offset), ``1h`` for an hour ago, or a word for the
    beginning of a day or month. now: with zone."""
    word = " ".join(text.lower().split())
    midnight = datetime(now.year, now.month, now.day)
    first = midnight.replace(day=1)
    words = {
        "now": now.replace(tzinfo=None),
        "today": midnight,
        "yesterday": midnight - timedelta(days=1),
        "this week": midnight - timedelta(days=midnight.weekday()),
        "this month": first,
        "last month": (first - timedelta(days=1)).replace(day=1),
    }
    if word == "now":
        return now
    if word in words:
        return localise(words[word])
    if found := _AGO.fullmatch(word):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(
            "bad-time",
            "Time not understood",
            f"{flag} is {text!r}. It can be an ISO time such as 2026-11-01T09:00+08:00, an age such as 90m, "
            f"1h or 7d, or one of: {', '.join(sorted(words))}.",
            address=flag,
        ) from error
    return moment if moment.tzinfo is not None else localise(moment)

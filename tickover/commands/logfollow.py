"""A stream of log lines that goes on over whatever happens to the host.

Owns: what to ask for when the stream has ended, and for how long. Promises: no line twice, none left out
while it is in the log; a host that is away is told, and waited for a while. Never: prints a line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from tickover.errors import TickoverError

AWAY_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 0.25
OVERLAP_NS: Final = 5_000_000_000  # lines of several instances are told in the order of their times, nearly
_PASSING: Final = frozenset({"host-not-running", "host-silent", "host-broke-off"})

Row = dict[str, Any]


class Source(Protocol):
    """The host."""

    def stream(self, name: str, query: Mapping[str, str]) -> Iterator[Row]: ...


class Resume(Protocol):
    """What has been told."""

    def is_new(self, row: Row) -> bool:
        """Whether a line is to be told; it is told now, if so."""
        ...

    def query(self, first: Mapping[str, str]) -> Mapping[str, str]:
        """What to ask for next. first: what was asked for first."""
        ...


@dataclass(eq=False)
class LogResume:
    """Of instances: by place in each log."""

    places: dict[str, int] = field(default_factory=dict)
    first_ns: int | None = None
    last_ns: int = 0

    def is_new(self, row: Row) -> bool:
        at = time_ns(row["time"])
        self.first_ns = at if self.first_ns is None else self.first_ns
        if at < self.first_ns or row["place"] <= self.places.get(row["instance"], -1):
            return False
        self.places[row["instance"]] = row["place"]
        self.last_ns = max(self.last_ns, at)
        return True

    def query(self, first: Mapping[str, str]) -> Mapping[str, str]:
        if not self.last_ns:
            return first
        kept = {name: value for name, value in first.items() if name != "tail"}
        return {**kept, "since": str(self.last_ns - OVERLAP_NS)}


@dataclass(eq=False)
class AccessResume:
    """Of the access log: behind its last line."""

    place: str = ""

    def is_new(self, row: Row) -> bool:
        self.place = row["place"]
        return True

    def query(self, first: Mapping[str, str]) -> Mapping[str, str]:
        if not self.place:
            return first
        return {**{name: value for name, value in first.items() if name != "tail"}, "after": self.place}


def time_ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000


def followed(
    source: Source,
    name: str,
    query: Mapping[str, str],
    resume: Resume,
    say: Callable[[str], None],
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Row]:
    """The lines of a query that follows, for as long as there is a host. Raises TickoverError."""
    until = float(query["until"]) / 1e9 if query.get("until") else None
    away_since: float | None = None
    was_there = False
    while True:
        try:
            for row in source.stream(name, resume.query(query)):
                was_there, away_since = True, _told(away_since, say)
                if resume.is_new(row):
                    yield row
            was_there, away_since = True, _told(away_since, say)
        except TickoverError as error:
            is_passing = error.code in _PASSING or error.retry_after_seconds is not None
            was_there = was_there or error.code == "host-broke-off"
            if not was_there or not is_passing:
                raise
            if away_since is None:
                say(f"The host is away; waiting {AWAY_SECONDS:.0f} s for it to come back.")
                away_since = now()
            elif now() - away_since > AWAY_SECONDS:
                raise
        if until is not None and now() >= until:
            return
        sleep(PAUSE_SECONDS)


def _told(away_since: float | None, say: Callable[[str], None]) -> float | None:
    """Since when the host is away, after it has answered."""
    if away_since is not None:
        say("The host is back.")
    return None

"""The admin API's log calls: what is asked, as a query.

Owns: the parameters of `GET logs` and `GET access`. Promises: what is not understood is refused and named.
Never: reads a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tickover.host.access_tail import Place, parse_place
from tickover.host.api_context import invalid
from tickover.host.log_stream import LogQuery

MAX_TAIL: Final = 10_000
_INSTANCE_ID: Final = re.compile(r"[\w.-]{1,128}\Z")
_KNOWN: Final = frozenset(
    {"functions", "instance", "qualifier", "version", "since", "until", "tail", "follow", "after"}
)


def log_query(said: Mapping[str, str]) -> LogQuery:
    """Raises HttpError."""
    unknown = sorted(said.keys() - _KNOWN)
    if unknown:
        raise invalid(f"there is no parameter {unknown[0]}; there are {', '.join(sorted(_KNOWN))}")
    instance = said.get("instance", "")
    if instance and not _INSTANCE_ID.match(instance):
        raise invalid(f"instance must be the id of an instance, not {instance!r}")
    tail = _number(said, "tail", "a number of lines")
    if tail is not None and tail > MAX_TAIL:
        raise invalid(f"tail is {tail}; the last {MAX_TAIL} lines are the most, or all without it")
    follow = said.get("follow", "false")
    if follow not in ("true", "false"):
        raise invalid(f"follow must be true or false, not {follow!r}")
    return LogQuery(
        functions=frozenset(name for name in said.get("functions", "").split(",") if name),
        instance=instance,
        qualifier=said.get("qualifier", ""),
        version=said.get("version", ""),
        since_ns=_number(said, "since", "nanoseconds since the epoch"),
        until_ns=_number(said, "until", "nanoseconds since the epoch"),
        tail=tail,
        follow=follow == "true",
    )


def place_after(said: Mapping[str, str]) -> Place | None:
    """Where a reader of the access log goes on. Raises HttpError."""
    text = said.get("after", "")
    place = parse_place(text) if text else None
    if text and place is None:
        raise invalid(f"after must be the place of a line of the access log, not {text!r}")
    return place


def _number(said: Mapping[str, str], name: str, what: str) -> int | None:
    text = said.get(name, "")
    if text and not (text.isdigit() and text.isascii() and len(text) < 20):
        raise invalid(f"{name} must be {what}, not {text!r}")
    return int(text) if text else None

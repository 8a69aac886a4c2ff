"""`tickover logs`: what instances have written, and what callers were answered.

Owns: whose lines a command line means, and the answer on the terminal. Promises: wakes nothing; one JSON
object a line with --json; a follower ends with 0 at Ctrl-C. Never: reads a file of the host's.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tickover.commands.logfollow import AccessResume, LogResume, Row, followed
from tickover.commands.session import Session
from tickover.errors import ConfigError, Exit
from tickover.timewords import parse_when
from tickover.views.loglines import LogLines, access_line
from tickover.views.terminal import writable

if TYPE_CHECKING:
    from tickover.host.client import AdminClient

DEFAULT_TAIL: Final = 100
_INSTANCE: Final = re.compile(r"i-[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The command line. tail: a number or `all`; None: 100 unless --since says how far back."""

    name: str | None = None
    stack: str | None = None
    instance: str | None = None
    qualifier: str | None = None
    version: str | None = None
    since: str | None = None
    until: str | None = None
    tail: str | None = None
    follow: bool = False
    access: bool = False
    timestamps: bool = False
    as_json: bool = False


def logs(session: Session, wanted: Wanted) -> int:
    """`logs`. Raises TickoverError if there is no host."""
    from tickover.host.client import AdminClient

    client = AdminClient(session.home)
    query = query_of(wanted, datetime.now().astimezone())
    query |= whose(wanted, client.instances(), client.status().get("functions") or ())
    is_one = bool(query.get("instance"))
    lines = LogLines(session.look, with_names=not is_one, with_times=wanted.timestamps)
    told = 0
    try:
        for row in _rows(session, client, wanted, query):
            told += 1
            del row["place"]
            if wanted.as_json:
                session.say_line(row)
            else:
                text = access_line(row, session.look) if wanted.access else lines.line(row)
                session.say(writable(text, sys.stdout))
    except KeyboardInterrupt:
        if not wanted.follow:
            raise
    if not told and not wanted.follow and not wanted.as_json:
        session.note("There are no such lines.")
    return int(Exit.OK)


def _rows(session: Session, client: AdminClient, wanted: Wanted, query: Mapping[str, str]) -> Iterator[Row]:
    name = "access" if wanted.access else "logs"
    if not wanted.follow:
        return client.stream(name, query)
    resume = AccessResume() if wanted.access else LogResume()
    return followed(client, name, query, resume, session.note)


def query_of(wanted: Wanted, now: datetime) -> dict[str, str]:
    """What to ask the host for, but for whose lines. Raises ConfigError."""
    query: dict[str, str] = {}
    moments = {}
    for flag, text in (("since", wanted.since), ("until", wanted.until)):
        if text is not None:
            moments[flag] = parse_when(text, now, f"--{flag}")
            query[flag] = str(max(0, round(moments[flag].timestamp() * 1_000_000)) * 1000)
    if len(moments) == 2 and moments["since"] >= moments["until"]:
        raise ConfigError(
            "bad-window", "Window is empty", f"--since {wanted.since} is not before --until {wanted.until}."
        )
    tail = wanted.tail or (str(DEFAULT_TAIL) if wanted.since is None else "all")
    if tail != "all":
        if not (tail.isdigit() and tail.isascii()):
            raise ConfigError(
                "bad-tail", "Number of lines not understood", f"--tail is {tail!r}; it can be 100, or all."
            )
        query["tail"] = tail
    given = {"qualifier": wanted.qualifier, "version": wanted.version}
    query |= {name: value for name, value in given.items() if value}
    return query | ({"follow": "true"} if wanted.follow else {})


def whose(wanted: Wanted, instances: Sequence[Mapping[str, Any]], declared: Sequence[str]) -> dict[str, str]:
    """The functions, or the instance, that are meant. Raises ConfigError with the nearest name."""
    functions = sorted({*declared, *(str(i["function"]) for i in instances)})
    if wanted.stack is not None:
        functions = [name for name in functions if name.endswith(f"-{wanted.stack}")]
        if not functions:
            raise ConfigError(
                "no-function", "Stack has no function", f"The host has none of stack {wanted.stack!r}."
            )
    ids = [str(i["instance_id"]) for i in instances]
    found = {"instance": _instance(wanted.instance, ids)} if wanted.instance else {}
    name = wanted.name
    if name is None:
        return found | ({"functions": ",".join(functions)} if wanted.stack is not None else {})
    if name in functions:
        return found | {"functions": name}
    services = [f for f in functions if f.startswith(f"{name}-")]
    if services:
        return found | {"functions": ",".join(services)}
    if not found and (name in ids or _INSTANCE.match(name) or sum(i.startswith(name) for i in ids) == 1):
        return {"instance": _instance(name, ids)}
    near = difflib.get_close_matches(name, [*functions, *ids], n=1, cutoff=0.5)
    raise ConfigError(
        "unknown-function",
        "Function not found",
        f"No function, service or instance is called {name!r}."
        + (f" Did you mean `{near[0]}`?" if near else ""),
        hint="tickover ps --all",
    )


def _instance(name: str, ids: Sequence[str]) -> str:
    """By its id, or by the beginning of it where one instance only is called so."""
    starts = [i for i in ids if i.startswith(name)]
    return starts[0] if name not in ids and len(starts) == 1 else name

"""`tickover bill`: seconds and money of the host's instances.

Owns: the window and the answer on the terminal. Promises: the time zone is stated. Never: prices anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tickover.account import reckon
from tickover.commands.session import Session
from tickover.errors import ConfigError, Exit
from tickover.timewords import parse_when
from tickover.views.money import render_bill


def bill(session: Session, since: str | None, until: str | None, *, as_json: bool) -> int:
    """`bill`: this month unless told otherwise."""
    from tickover.host.client import AdminClient

    now = datetime.now().astimezone()
    begin = parse_when(since or "this month", now, "--since").astimezone()
    end = parse_when(until or "now", now, "--until").astimezone()
    if begin >= end:
        raise ConfigError(
            "bad-window",
            "Window is empty",
            f"--since is {begin:%Y-%m-%d %H:%M}, --until {end:%Y-%m-%d %H:%M}.",
        )
    client = AdminClient(session.home)

    def ask(since_ns: int, until_ns: int) -> Mapping[str, Any]:
        return client.usage(since_ns, until_ns)

    account = reckon(begin, end, ask)
    if as_json:
        session.say_json(account.as_json())
    else:
        session.say(*render_bill(account, session.look))
    return int(Exit.OK)

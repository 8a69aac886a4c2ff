"""`tickover doctor`: what this machine can do, what falls back to what, and what helps.

Owns: the answer on the terminal. Promises: exit 1 only if something that has to work here does not. Never:
changes the machine.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from tickover.commands.session import Session
from tickover.errors import ConfigError, Exit
from tickover.views.terminal import Look

_STYLES = {"ok": "green", "fallback": "yellow", "missing": "yellow", "broken": "red"}
_INDENT = " " * 10


def doctor(session: Session, kinds: Sequence[str], *, as_json: bool) -> int:
    """`doctor`."""
    from tickover.doctor.checks import document, is_good, judge
    from tickover.doctor.facts import Need
    from tickover.doctor.gather import Place, gather

    known = {need.value: need for need in Need}
    if unknown := [kind for kind in kinds if kind not in known]:
        raise ConfigError(
            "unknown-kind",
            "Unknown kind of function",
            f"--for {unknown[0]} is none of {', '.join(known)}.",
        )
    facts = gather(Place(_home(session), session.env, frozenset(known[kind] for kind in kinds)))
    checks = judge(facts)
    if as_json:
        session.say_json(document(checks, facts))
        return int(Exit.OK if is_good(checks) else Exit.ERROR)
    wide = max(len(check.name) for check in checks)
    for check in checks:
        status = session.look.paint(f"{check.status.value:<8}", _STYLES[check.status.value])
        lines = _wrapped(check.found, wide, session.look)
        session.say(f"{status}  {check.name:<{wide}}  {lines[0]}", *lines[1:])
        for word, text in (("instead", check.instead), ("to fix", check.remedy)):
            if text and check.status.value != "ok":
                more = _wrapped(f"{word}: {text}", wide, session.look, is_code=word == "to fix")
                session.say(f"{_INDENT}{'':<{wide}}  {more[0]}", *more[1:])
    failed = [check.name for check in checks if check.fails]
    session.say("", f"Has to be mended: {', '.join(failed)}." if failed else "What has to work here works.")
    return int(Exit.ERROR if failed else Exit.OK)


def _wrapped(text: str, wide: int, look: Look, *, is_code: bool = False) -> list[str]:
    """Lines that begin below the third column; a command is not cut."""
    indent = f"{_INDENT}{'':<{wide}}  "
    if is_code:
        return [text]
    width = max(look.width - len(indent), 40)
    first, *rest = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
    return [first, *(indent + line for line in rest)]


def _home(session: Session) -> Path | None:
    """The data home; None outside of a project."""
    try:
        return session.home
    except ConfigError as error:
        if error.code != "no-project":
            raise
        named = session.env.get("TICKOVER_HOME")
        return Path(named).expanduser().resolve() if named else None

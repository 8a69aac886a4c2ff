"""`tickover config get|set|rm`: the values of a stack's file.

Owns: the answers on the terminal. Promises: a secret's text is shown only by ``--show-secrets`` and is read
from a terminal or standard input, so that it need not stand in a command line. Never: edits the file itself.
"""

from __future__ import annotations

import getpass
import sys

from tickover.commands.session import Session
from tickover.errors import ConfigError, Exit


def get(
    session: Session, stack: str | None, key: str, *, as_path: bool, as_json: bool, show_secrets: bool
) -> int:
    """`config get`."""
    from tickover.engine.stackconfig import as_text, get_value, load_stack_config
    from tickover.engine.values import contains_secret, mask, reveal

    chosen = session.stack(stack)
    config = load_stack_config(session.project, chosen)
    value = get_value(session.project, config, key, session.keyring(chosen), as_path=as_path)
    shown = reveal(value) if show_secrets else mask(value)
    if as_json:
        session.say_json({"key": key, "value": shown, "secret": contains_secret(value)})
    else:
        session.say(as_text(shown))
    return int(Exit.OK)


def set_(
    session: Session, stack: str | None, key: str, value: str | None, *, as_path: bool, secret: bool
) -> int:
    """`config set`. Without a value it is asked for."""
    from tickover.engine.stackconfig import load_stack_config, set_value

    chosen = session.stack(stack)
    config = load_stack_config(session.project, chosen)
    text = value if value is not None else _asked(key, secret)
    edit = set_value(
        session.project, config, key, text, session.keyring(chosen), secret=secret, as_path=as_path
    )
    _told(session, edit.config.path.name, edit.comments_kept)
    return int(Exit.OK)


def rm(session: Session, stack: str | None, key: str, *, as_path: bool) -> int:
    """`config rm`."""
    from tickover.engine.stackconfig import load_stack_config, remove_value

    chosen = session.stack(stack)
    config = load_stack_config(session.project, chosen)
    edit = remove_value(session.project, config, key, as_path=as_path)
    _told(session, edit.config.path.name, edit.comments_kept)
    return int(Exit.OK)


def _asked(key: str, secret: bool) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.read().rstrip("\n")
    text = getpass.getpass(f"{key}: ") if secret else input(f"{key}: ")
    if not text:
        raise ConfigError("no-value", "No value given", f"Nothing was entered for {key}.")
    return text


def _told(session: Session, file: str, comments_kept: bool) -> None:
    session.say(f"{file} is written.")
    if not comments_kept:
        session.note(f"warning: {file} had to be written anew and lost its comments.")

"""`tickover stack …`: what stacks there are and what they remember.

Owns: listing, choosing, making and removing stacks, showing outputs and history, export.
Promises: secrets masked unless ``--show-secrets``; whatever writes holds the stack's lock. Never: touches a
resource.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickover.commands.session import Session, confirmed
from tickover.errors import Exit, TickoverError
from tickover.views.narrator import output_lines
from tickover.views.tables import table
from tickover.views.terminal import seconds_text

if TYPE_CHECKING:
    from tickover.engine.history import UpdateRecord


def ls(session: Session, *, as_json: bool) -> int:
    """`stack ls`."""
    from tickover.engine.stackconfig import known_stacks

    selected = session.selected()
    states = {s.name: s for s in session.backend.list_stacks(session.project.name)}
    names = known_stacks(session.project, session.backend)
    if as_json:
        session.say_json(
            {
                "stacks": [
                    {
                        "name": name,
                        "current": name == selected,
                        "updated": states[name].updated if name in states else "",
                        "resources": states[name].resources if name in states else 0,
                    }
                    for name in names
                ]
            }
        )
        return int(Exit.OK)
    rows = []
    for name in names:
        state = states.get(name)
        count = "-" if state is None else "?" if state.resources is None else str(state.resources)
        mark = "*" if name == selected else ""
        rows.append((name + mark, state.updated if state and state.updated else "never", count))
    session.say(*table(("NAME", "LAST UPDATE", "RESOURCES"), rows, session.look, "llr"))
    return int(Exit.OK)


def select(session: Session, stack: str) -> int:
    """`stack select`."""
    name = session.stack(stack)
    session.select(name)
    session.say(f"{name} is selected.")
    return int(Exit.OK)


def init(session: Session, stack: str) -> int:
    """`stack init`: an empty state; its config file is written with the first `config set`."""
    session.backend.create(session.project.name, stack)
    session.select(stack)
    session.say(f"{stack} is made and selected.")
    return int(Exit.OK)


def rm(session: Session, stack: str, *, yes: bool, force: bool) -> int:
    """`stack rm`: forget the state; the config file stays."""
    name = session.stack(stack)
    confirmed(f"Forget the state and the history of {name}?", yes=yes)
    session.say(forget(session, name, force=force))
    return int(Exit.OK)


def forget(session: Session, name: str, *, force: bool) -> str:
    """Remove the stack's state; what to tell of that. Raises TickoverError unless it is empty or force."""
    with session.backend.lock(session.project.name, name, "stack rm"):
        session.backend.remove(session.project.name, name, force=force)
    if session.selected() == name:
        session.select("")
    return f"{name} is forgotten; its config file stays."


def stack_outputs(session: Session, stack: str) -> dict[str, Any]:
    """The outputs in the stack's state, with their markers."""
    from tickover.engine.urn import STACK_TYPE

    loaded = session.backend.load(session.project.name, stack, session.keyring(stack))
    for resource in loaded.deployment.resources:
        if resource.type == STACK_TYPE and not resource.delete:
            return dict(resource.outputs)
    return {}


def output(
    session: Session, stack: str | None, name: str | None, *, as_json: bool, show_secrets: bool
) -> int:
    """`stack output [NAME]`."""
    from tickover.engine.values import mask, reveal

    chosen = session.stack(stack)
    values = stack_outputs(session, chosen)
    plain: dict[str, Any] = mask(reveal(values) if show_secrets else values)
    if name is not None:
        if name not in plain:
            known = (
                f"It has {', '.join(sorted(plain))}." if plain else "It has none; run `tickover up` first."
            )
            raise TickoverError("no-output", "No such output", f"{chosen} has no output {name!r}. {known}")
        if as_json:
            session.say_json(plain[name])
        else:
            value = plain[name]
            session.say(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    elif as_json:
        session.say_json(dict(sorted(plain.items())))
    else:
        session.say(*(output_lines(plain, "") or [f"{chosen} has no outputs; run `tickover up` first."]))
    return int(Exit.OK)


def export(session: Session, stack: str | None, file: Path | None, *, show_secrets: bool) -> int:
    """`stack export`: Pulumi's deployment document."""
    from tickover.engine.stateio import export_document

    chosen = session.stack(stack)
    keyring = session.keyring(chosen)
    deployment = session.backend.load(session.project.name, chosen, keyring).deployment
    crypter = keyring.for_provider(deployment.secrets_provider)
    document = export_document(deployment, crypter, show_secrets)
    if file is None:
        session.say_json(document)
    else:
        from tickover.engine.files import write_atomic

        write_atomic(file, (json.dumps(document, indent=4) + "\n").encode())
        session.note(f"{chosen} is exported to {file}.")
    return int(Exit.OK)


def history(
    session: Session,
    stack: str | None,
    *,
    as_json: bool,
    show_secrets: bool = False,
    page: int = 1,
    page_size: int = 0,
) -> int:
    """`stack history`, the newest first. page_size: how many a page; 0: all on one."""
    chosen = session.stack(stack)
    every = session.backend.history(session.project.name, chosen)
    first = (page - 1) * page_size
    records = every[first : first + page_size] if page_size else every
    if as_json:
        session.say_json(
            {
                "updates": [
                    {
                        "version": len(every) - first - index,
                        "kind": r.kind,
                        "result": r.result,
                        "start_time": _rfc3339(r.start_time),
                        "end_time": _rfc3339(r.end_time),
                        "resource_changes": dict(sorted(r.resource_changes.items())),
                        "message": r.message,
                        "environment": dict(sorted(r.environment.items())),
                        "config": _config_then(session, chosen, r, show_secrets),
                    }
                    for index, r in enumerate(records)
                ]
            }
        )
        return int(Exit.OK)
    rows = []
    for index, record in enumerate(records):
        version = str(len(every) - first - index)
        changes = ", ".join(f"{n} {op}" for op, n in sorted(record.resource_changes.items()) if n)
        took = seconds_text(float(record.end_time - record.start_time))
        rows.append((version, _rfc3339(record.start_time), record.kind, record.result, took, changes))
    if rows:
        session.say(
            *table(("VERSION", "START", "KIND", "RESULT", "TOOK", "RESOURCES"), rows, session.look, "rlllrl")
        )
    else:
        session.say(f"{chosen} has no history yet.")
    return int(Exit.OK)


def _config_then(session: Session, stack: str, record: UpdateRecord, show_secrets: bool) -> dict[str, Any]:
    """The config of an update, as history shows it: secrets only if asked for and still to be opened."""
    from tickover.engine.stackconfig import load_stack_config

    salt = load_stack_config(session.project, stack).salt if show_secrets else ""
    crypter = session.keyring(stack).for_salt(salt) if salt else None
    shown: dict[str, Any] = {}
    for key, value in sorted(record.config.items()):
        match value:
            case {"secure": str() as ciphertext}:
                shown[key] = {"secret": True}
                if crypter is not None:
                    try:
                        shown[key]["value"] = crypter.decrypt(ciphertext)
                    except TickoverError as error:
                        if error.code != "bad-secret":
                            raise
                        shown[key]["error"] = error.detail  # it was under another passphrase then
            case _:
                shown[key] = {"secret": False, "value": value}
    return shown


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

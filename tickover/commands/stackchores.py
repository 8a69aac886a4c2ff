"""`tickover stack …`: the rarer things one does to a stack.

Owns: renaming, another passphrase, tags, earlier states, forced imports, the graph, shell output. Promises:
whatever writes holds the stack's lock; no passphrase and no secret is shown unasked. Never: touches a
resource.
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickover.commands.session import Session
from tickover.commands.stacks import stack_outputs
from tickover.errors import ConfigError, Exit, TickoverError
from tickover.views.tables import table

if TYPE_CHECKING:
    from tickover.engine.dot import GraphStyle
    from tickover.engine.relocation import Place


def _place(session: Session, stack: str | None) -> Place:
    from tickover.engine.relocation import Place

    return Place(session.project.name, session.stack(stack))


def _done(session: Session, as_json: bool, answer: dict[str, Any], *lines: str) -> int:
    if as_json:
        session.say_json(answer)
    else:
        session.say(*lines)
    return int(Exit.OK)


# --- name and passphrase ----------------------------------------------------------------------------------


def rename(session: Session, stack: str | None, name: str, *, as_json: bool) -> int:
    """`stack rename`: state, history, tags, config file and selection go over to the new name."""
    from tickover.engine.backend import check_name
    from tickover.engine.relocation import Place, restacked
    from tickover.engine.stackconfig import config_path
    from tickover.engine.stackfiles import rename_stack

    old = _place(session, stack)
    pieces = name.split("/")
    new = Place(pieces[1] if len(pieces) == 3 else old.project, pieces[-1])
    check_name(new.stack)
    check_name(new.project)
    if new == old:
        raise ConfigError("same-name", "Name is the same", f"{old} is called so already.")
    if session.backend.exists(new.project, new.stack):
        raise TickoverError("stack-exists", "Stack exists already", f"There is a stack {new} already.")
    old_file, new_file = (config_path(session.project, p.stack) for p in (old, new))
    if new_file.exists() and old_file != new_file:
        raise ConfigError(
            "config-exists", "Config file exists already", f"{new_file} is there.", address=new_file.name
        )
    keyring = session.keyring(old.stack)
    with ExitStack() as locks:
        for place in sorted((old, new), key=str):
            locks.enter_context(session.backend.lock(place.project, place.stack, "stack rename"))
        loaded = session.backend.load(old.project, old.stack, keyring)
        session.note(*loaded.notices)
        if loaded.exists:
            made = restacked(loaded.deployment, old, new)
            rename_stack(session.backend, old, new, made, keyring)
        if old_file.exists():
            os.replace(old_file, new_file)
    session.select(new.stack)  # as the CLI does, whatever was selected before
    answer = {"old": str(old), "new": str(new)}
    return _done(session, as_json, answer, f"{old} is called {new} now.")


def change_secrets_provider(session: Session, stack: str | None, provider: str, *, as_json: bool) -> int:
    """`stack change-secrets-provider passphrase`: a new passphrase and salt for state and config."""
    from tickover.engine.recrypt import change_passphrase
    from tickover.engine.secrets import PASSPHRASE_TYPE

    if provider not in (PASSPHRASE_TYPE, "default"):
        raise ConfigError(
            "secrets-provider",
            "Secrets provider not supported",
            f"{provider!r}: tickover keeps secrets under a passphrase only.",
            hint="tickover stack change-secrets-provider passphrase",
        )
    chosen = session.stack(stack)
    old = session.passphrase(chosen)()
    new = _new_passphrase()
    with session.backend.lock(session.project.name, chosen, "stack change-secrets-provider"):
        count, with_state = change_passphrase(session.backend, session.project, chosen, (str(old), new))
    return _done(
        session,
        as_json,
        {"stack": chosen, "config_secrets": count, "state": with_state},
        f"The secrets of {chosen} are under the new passphrase: {count} in the config"
        + (", and all in the state." if with_state else "."),
        "Set PULUMI_CONFIG_PASSPHRASE to it from now on. Backups and history stay under the old one.",
    )


def _new_passphrase() -> str:
    """Asked for twice at a terminal; else the first line of standard input, as the CLI does."""
    if sys.stdin.isatty():
        first = getpass.getpass("New passphrase: ")
        if first != getpass.getpass("The same again: "):
            raise ConfigError("passphrases-differ", "Passphrases differ", "Nothing was changed.")
    else:
        first = sys.stdin.readline().strip()
    if not first:
        raise ConfigError(
            "no-new-passphrase",
            "New passphrase is missing",
            "Type it at a terminal, or give it as the first line of standard input.",
        )
    return first


def unselect(session: Session) -> int:
    """`stack unselect`: no stack is chosen for later commands."""
    session.select("")
    session.say("No stack is selected.")
    return int(Exit.OK)


# --- tags ------------------------------------------------------------------------------------------------


def tag_ls(session: Session, stack: str | None, *, as_json: bool) -> int:
    """`stack tag ls`."""
    from tickover.engine.stackfiles import read_tags

    tags = read_tags(session.backend, _place(session, stack))
    if as_json:
        session.say_json(tags)
    elif tags:
        session.say(*table(("NAME", "VALUE"), sorted(tags.items()), session.look, "ll"))
    else:
        session.say("The stack has no tags.")
    return int(Exit.OK)


def tag_get(session: Session, stack: str | None, name: str) -> int:
    """`stack tag get`."""
    from tickover.engine.stackfiles import read_tags

    place = _place(session, stack)
    tags = read_tags(session.backend, place)
    if name not in tags:
        known = f"It has {', '.join(tags)}." if tags else "It has none."
        raise TickoverError("no-tag", "No such tag", f"{place} has no tag {name!r}. {known}", address=name)
    session.say(tags[name])
    return int(Exit.OK)


def tag_set(session: Session, stack: str | None, name: str, value: str | None) -> int:
    """`stack tag set`, and with value None `stack tag rm`."""
    from tickover.engine.stackfiles import read_tags, write_tags

    place = _place(session, stack)
    with session.backend.lock(place.project, place.stack, "stack tag"):
        tags = {k: v for k, v in read_tags(session.backend, place).items() if k != name}
        write_tags(session.backend, place, tags if value is None else tags | {name: value})
    return int(Exit.OK)


# --- export, import ----------------------------------------------------------------------------------------


def export_version(
    session: Session, stack: str | None, version: int, file: Path | None, *, show_secrets: bool
) -> int:
    """`stack export --version`: the state as it was after an earlier update."""
    from tickover.engine.files import write_atomic
    from tickover.engine.stackfiles import earlier_checkpoint
    from tickover.engine.stateio import deployment_from_checkpoint, export_document

    place = _place(session, stack)
    keyring = session.keyring(place.stack)
    data = earlier_checkpoint(session.backend, place, version)
    deployment = deployment_from_checkpoint(data, keyring.for_provider)
    crypter = keyring.for_provider(deployment.secrets_provider)
    document = export_document(deployment, crypter, show_secrets)
    if file is None:
        session.say_json(document)
    else:
        write_atomic(file, (json.dumps(document, indent=4) + "\n").encode())
        session.note(f"Version {version} of {place.stack} is exported to {file}.")
    return int(Exit.OK)


def import_(session: Session, stack: str | None, file: Path | None, *, force: bool) -> int:
    """`stack import`: replace the state by an exported document. Never asks, as the CLI does not."""
    from tickover.engine.stackio import import_stack

    chosen = session.stack(stack)
    keyring = session.keyring(chosen)
    document = _read_document(file)
    with session.backend.lock(session.project.name, chosen, "stack import"):
        try:
            deployment = import_stack(session.backend, session.project.name, chosen, document, keyring, force)
        except TickoverError as error:
            if not (force and error.code == "state-integrity"):
                raise
            session.note(f"warning: {error.detail}")  # it is saved all the same, which force asks for
            session.say(f"{chosen} has the imported state, which is not sound.")
            return int(Exit.OK)
    session.say(f"{chosen} now has {len(deployment.resources)} resources.")
    return int(Exit.OK)


def _read_document(file: Path | None) -> dict[str, Any]:
    try:
        document = json.loads(sys.stdin.read() if file is None else file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError("no-such-path", "Path does not exist", f"There is no {file}.") from error
    except ValueError as error:
        where = file or "standard input"
        raise ConfigError("bad-import", "Import is not JSON", f"{where}: {error}.") from error
    if not isinstance(document, dict):
        raise ConfigError("bad-import", "Import is not a deployment", "It must be an object.")
    return document


# --- output, ls, graph -------------------------------------------------------------------------------------


def output_shell(
    session: Session, stack: str | None, name: str | None, *, as_json: bool, show_secrets: bool
) -> int:
    """`stack output --shell`: assignments for a shell."""
    from tickover.engine.values import mask, reveal

    if as_json:
        raise ConfigError("two-forms", "Two output forms", "Give --json or --shell, not both.")
    chosen = session.stack(stack)
    values = stack_outputs(session, chosen)
    plain: dict[str, Any] = mask(reveal(values) if show_secrets else values)
    if name is not None and name not in plain:
        raise TickoverError("no-output", "No such output", f"{chosen} has no output {name!r}.", address=name)
    for key in sorted(plain) if name is None else [name]:
        session.say(f"{key}={shlex.quote(_as_word(plain[key]))}")
    return int(Exit.OK)


def _as_word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def ls_all(session: Session, *, everything: bool, project: str | None, tag: str | None, as_json: bool) -> int:
    """`stack ls --all`: stacks of every project in the back end, or with --project or --tag of one. tag:
    NAME or NAME=VALUE."""
    from tickover.engine.relocation import Place
    from tickover.engine.stackfiles import read_tags

    name, separator, value = (tag or "").partition("=")
    found = []
    wanted = project or (None if everything else session.project.name)
    for summary in session.backend.list_stacks(wanted):
        tags = read_tags(session.backend, Place(summary.project, summary.name)) if tag else {}
        if tag and (name not in tags or (separator and tags[name] != value)):
            continue
        found.append(summary)
    if as_json:
        rows = [
            {"name": s.name, "project": s.project, "updated": s.updated, "resources": s.resources}
            for s in found
        ]
        session.say_json({"stacks": rows})
        return int(Exit.OK)
    lines = [
        (f"{s.project}/{s.name}", s.updated or "never", "?" if s.resources is None else str(s.resources))
        for s in found
    ]
    session.say(*table(("NAME", "LAST UPDATE", "RESOURCES"), lines, session.look, "llr"))
    return int(Exit.OK)


def graph(session: Session, stack: str | None, file: Path, style: GraphStyle) -> int:
    """`stack graph`: the resources and what they need, in DOT."""
    from tickover.engine.dot import dot
    from tickover.engine.files import write_atomic

    chosen = session.stack(stack)
    loaded = session.backend.load(session.project.name, chosen, session.keyring(chosen))
    write_atomic(file, dot(loaded.deployment, style).encode("utf-8"), mode=0o644)
    session.note(f"The graph of {chosen} is in {file}.")
    return int(Exit.OK)

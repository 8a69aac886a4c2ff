"""What lies beside a stack's state in the file back end: tags, earlier states, all under the stack's name.

Owns: ``<stack>.pulumi-tags``, the checkpoints of the history, the move of all of it to another name.
Promises: the CLI's own forms; at every moment of a renaming the state is there under one name at least.
Never: decrypts anything.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tickover.engine.backend import JOURNAL_SUFFIX, FileBackend
from tickover.engine.files import keep_previous, remove, state_errors, sync_folder, write_atomic
from tickover.engine.history import history_files
from tickover.engine.relocation import Place
from tickover.engine.secrets import Keyring
from tickover.engine.state import Deployment
from tickover.engine.statevalue import dumps
from tickover.errors import ConfigError, TickoverError

_TAGS_VERSION: Final = 1


def _folder(backend: FileBackend, kind: str, place: Place) -> Path:
    inner = backend.root / ".pulumi" / kind / place.project
    return inner if kind == "stacks" else inner / place.stack


# --- tags ------------------------------------------------------------------------------------------------


def _tags_file(backend: FileBackend, place: Place) -> Path:
    return _folder(backend, "stacks", place) / f"{place.stack}.pulumi-tags"


def read_tags(backend: FileBackend, place: Place) -> dict[str, str]:
    """The stack's tags by name."""
    path = _tags_file(backend, place)
    with state_errors(path, "read"):
        if not path.is_file():
            return {}
        data = path.read_bytes()
    try:
        document = json.loads(data)
        if document["version"] != _TAGS_VERSION:
            raise ValueError(f"its version is {document['version']!r}, not {_TAGS_VERSION}")
        return {str(k): str(v) for k, v in sorted((document.get("tags") or {}).items())}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TickoverError(
            "bad-tags", "Tags cannot be read", f"{path} is no file of tags: {error}.", address=str(path)
        ) from error


def write_tags(backend: FileBackend, place: Place, tags: Mapping[str, str]) -> None:
    """Make tags the stack's; the caller holds its lock."""
    path = _tags_file(backend, place)
    if not tags:
        remove(path)
        return
    text = dumps({"version": _TAGS_VERSION, "tags": dict(sorted(tags.items()))})
    write_atomic(path, text.encode("utf-8"))


# --- earlier states ----------------------------------------------------------------------------------------


def earlier_checkpoint(backend: FileBackend, place: Place, version: int) -> bytes:
    """The checkpoint after the stack's version-th update, the first being 1."""
    records = list(reversed(history_files(_folder(backend, "history", place))))
    if not 1 <= version <= len(records):
        known = f"It has 1 to {len(records)}." if records else "It has no history."
        raise ConfigError("no-version", "No such version", f"{place} has no version {version}. {known}")
    record = records[version - 1]
    stem = record.name.partition(".history.json")[0]
    for suffix in (".checkpoint.json", ".checkpoint.json.gz"):
        path = record.with_name(stem + suffix)
        with state_errors(path, "read"):
            if path.is_file():
                data = path.read_bytes()
                return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    raise TickoverError(
        "no-checkpoint",
        "Earlier state is missing",
        f"{record} has no checkpoint beside it.",
        address=str(record),
    )


# --- another name ------------------------------------------------------------------------------------------


def rename_stack(
    backend: FileBackend, old: Place, new: Place, deployment: Deployment, keyring: Keyring
) -> None:
    """Store deployment under new, take history and tags along, and leave of old only a backup. The caller
    holds both locks."""
    if backend.exists(new.project, new.stack):
        raise TickoverError("stack-exists", "Stack exists already", f"There is a stack {new} already.")
    backend.save(new.project, new.stack, deployment, keyring)
    _move_history(backend, old, new)
    if tags := read_tags(backend, old):
        write_tags(backend, new, tags)
    remove(_tags_file(backend, old))
    folder = _folder(backend, "stacks", old)
    for name in (f"{old.stack}.json", f"{old.stack}.json.gz"):
        path = folder / name
        keep_previous(path, path.with_name(f"{name}.bak"))
        remove(path)
        remove(path.with_name(f"{name}.attrs"))  # what the CLI's storage library leaves beside a file
    remove(folder / f"{old.stack}{JOURNAL_SUFFIX}")


def _move_history(backend: FileBackend, old: Place, new: Place) -> None:
    source, target = _folder(backend, "history", old), _folder(backend, "history", new)
    with state_errors(source, "moved"):
        files = sorted(source.iterdir()) if source.is_dir() else []
        for path in files:
            head, dash, tail = path.name.rpartition("-")
            if dash and head == old.stack:
                target.mkdir(parents=True, exist_ok=True)
                os.replace(path, target / f"{new.stack}-{tail}")
        if files and target.is_dir():
            sync_folder(target)
            sync_folder(source)

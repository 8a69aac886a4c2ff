"""What lies beside a stack's state: tags, earlier states, all under the stack's name.

Owns: ``<stack>.pulumi-tags``, the checkpoints of the history, the move of all of it to another name.
Promises: the CLI's own forms; at every moment of a renaming the state is there under one name at least.
Never: decrypts anything.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Final

from tickover.engine.backend import FileBackend
from tickover.engine.relocation import Place
from tickover.engine.secrets import Keyring
from tickover.engine.state import Deployment
from tickover.engine.statevalue import dumps
from tickover.engine.stores import Store
from tickover.errors import ConfigError, TickoverError

_TAGS_VERSION: Final = 1
_RECORD: Final = (".history.json", ".history.json.gz")
_CHECKPOINT: Final = (".checkpoint.json", ".checkpoint.json.gz")


def _beside(place: Place, suffix: str) -> str:
    return f".pulumi/stacks/{place.project}/{place.stack}{suffix}"


def _history(place: Place) -> str:
    return f".pulumi/history/{place.project}/{place.stack}"


def _plain(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


# --- tags ------------------------------------------------------------------------------------------------


def read_tags(backend: FileBackend, place: Place) -> dict[str, str]:
    """The stack's tags by name."""
    store, key = backend.store, _beside(place, ".pulumi-tags")
    blob = store.read(key)
    if blob is None:
        return {}
    try:
        document = json.loads(blob.data)
        if document["version"] != _TAGS_VERSION:
            raise ValueError(f"its version is {document['version']!r}, not {_TAGS_VERSION}")
        return {str(k): str(v) for k, v in sorted((document.get("tags") or {}).items())}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        where = store.place(key)
        raise TickoverError(
            "bad-tags", "Tags cannot be read", f"{where} is no file of tags: {error}.", address=where
        ) from error


def write_tags(backend: FileBackend, place: Place, tags: Mapping[str, str]) -> None:
    """Make tags the stack's; the caller holds its lock."""
    store, key = backend.store, _beside(place, ".pulumi-tags")
    if not tags:
        store.delete(key)
        return
    text = dumps({"version": _TAGS_VERSION, "tags": dict(sorted(tags.items()))})
    store.write(key, text.encode("utf-8"))


# --- earlier states ----------------------------------------------------------------------------------------


def earlier_checkpoint(backend: FileBackend, place: Place, version: int) -> bytes:
    """The checkpoint after the stack's version-th update, the first being 1."""
    store = backend.store
    keys = store.list(_history(place))
    records = sorted(k for k in keys if k.endswith(_RECORD))  # their names hold the time
    if not 1 <= version <= len(records):
        known = f"It has 1 to {len(records)}." if records else "It has no history."
        raise ConfigError("no-version", "No such version", f"{place} has no version {version}. {known}")
    stem = records[version - 1].rpartition(".history.json")[0]
    for suffix in _CHECKPOINT:
        if (blob := store.read(stem + suffix)) is not None:
            return _plain(blob.data)
    where = store.place(records[version - 1])
    raise TickoverError(
        "no-checkpoint", "Earlier state is missing", f"{where} has no checkpoint beside it.", address=where
    )


# --- another name ------------------------------------------------------------------------------------------


def rename_stack(
    backend: FileBackend, old: Place, new: Place, deployment: Deployment, keyring: Keyring
) -> None:
    """Store deployment under new, take history and tags along, and leave of old only a backup. The caller
    holds both locks."""
    if backend.exists(new.project, new.stack):
        raise TickoverError("stack-exists", "Stack exists already", f"There is a stack {new} already.")
    store = backend.store
    backend.save(new.project, new.stack, deployment, keyring)
    _move_history(store, old, new)
    if tags := read_tags(backend, old):
        write_tags(backend, new, tags)
    store.delete(_beside(old, ".pulumi-tags"))
    for name in (".json", ".json.gz"):
        store.keep(_beside(old, name), _beside(old, f"{name}.bak"))
        store.delete(_beside(old, name))
        store.delete(_beside(old, f"{name}.attrs"))  # what the CLI's storage library leaves beside a file
    backend.forget_journal(old.project, old.stack)


def _move_history(store: Store, old: Place, new: Place) -> None:
    for key in store.list(_history(old)):
        head, dash, tail = key.rpartition("/")[2].rpartition("-")
        blob = store.read(key) if dash and head == old.stack else None
        if blob is not None:
            store.write(f"{_history(new)}/{new.stack}-{tail}", blob.data)
            store.delete(key)

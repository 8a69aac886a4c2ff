"""A stack's lock in a bucket: the CLI's lock objects, and a guard that only one can hold.

Owns: ``.pulumi/locks/organization/<project>/<stack>/<uuid>.json`` and ``.pulumi/tickover/…/guard.json``.
Promises: at most one operation of either tool holds a stack; two of ours never both do, even where a listing
lags behind, if the server honours conditional writes. Never: waits; deletes a guard (a deletion has no
condition, so it could take away somebody else's).
"""

from __future__ import annotations

import json
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from tickover.engine import locks
from tickover.engine.locks import Holder, StackLock
from tickover.engine.stores import Moved, Store

_FREE = b"{}"


@dataclass(frozen=True, slots=True)
class StoreLocks:
    """The locks of one stack in a store."""

    store: Store
    project: str
    stack: str

    @property
    def folder(self) -> str:
        return f".pulumi/locks/organization/{self.project}/{self.stack}"

    @property
    def guard(self) -> str:
        return f".pulumi/tickover/{self.project}/{self.stack}/guard.json"

    def acquire(self, command: str) -> StackLock:
        """Look, write, look again, then the guard. Raises TickoverError ``stack-locked`` if held."""
        notices = self._clear(own="")
        key = f"{self.folder}/{uuid.uuid4()}.json"
        self.store.write(key, locks.content_of(command))
        try:
            self._clear(own=key)
            tag = self._take_guard(key, command)
        except BaseException:
            self.store.delete(key)
            raise
        return StackLock(Path(self.store.place(key)), notices, lambda: self._release(key, tag))

    def holders(self) -> tuple[Holder, ...]:
        """Every lock on the stack, by key."""
        return tuple(holder for _, holder in self._read_all())

    def break_all(self) -> tuple[Holder, ...]:
        """Removes every lock object, and says whose they were. A guard without its lock object is void."""
        found = self._read_all()
        for key, _ in found:
            self.store.delete(key)
        return tuple(holder for _, holder in found)

    def _read_all(self) -> list[tuple[str, Holder]]:
        found = []
        for key in self.store.list(self.folder):
            if key.endswith(".json") and (blob := self.store.read(key)) is not None:
                found.append((key, locks.parse_holder(Path(self.store.place(key)), blob.data)))
        return found

    def _clear(self, own: str) -> tuple[str, ...]:
        hostname = socket.gethostname()
        others = [(key, holder) for key, holder in self._read_all() if key != own]
        notices = []
        held = []
        for key, holder in others:
            if locks.is_stale(holder, hostname):
                self.store.delete(key)
                notices.append(locks.stale_notice(holder))
            else:
                held.append(holder)
        if held:
            raise locks.held_error(held, self.stack)
        return tuple(notices)

    def _take_guard(self, key: str, command: str) -> str:
        content = json.dumps({"lock": key} | json.loads(locks.content_of(command))).encode("utf-8")
        try:
            return self.store.create(self.guard, content)
        except Moved:
            present = self.store.read(self.guard)
        if present is None:
            raise self._contended()
        lock = _lock_of(present.data)
        if lock and self.store.read(lock) is not None:
            raise locks.held_error([self._guarding(present.data)], self.stack)
        try:
            return self.store.replace(self.guard, content, present.etag)
        except Moved:
            raise self._contended() from None

    def _contended(self) -> Exception:
        blob = self.store.read(self.guard)
        return locks.held_error([self._guarding(blob.data if blob else b"")], self.stack)

    def _guarding(self, data: bytes) -> Holder:
        return locks.parse_holder(Path(self.store.place(self.guard)), data)

    def _release(self, key: str, tag: str) -> None:
        try:
            self.store.replace(self.guard, _FREE, tag)
        except Moved:
            pass  # somebody broke the lock, and somebody else holds it now
        finally:
            self.store.delete(key)


def _lock_of(data: bytes) -> str:
    """The lock object that a guard stands for; empty if it is free."""
    try:
        document = json.loads(data)
    except ValueError:
        return ""
    return str(document.get("lock") or "") if isinstance(document, dict) else ""

"""A stack's state file in a store: which it is, and how another takes its place.

Owns: the three spellings of its name, and what of it was read last. Promises: a state takes the place of the
one that was read and of no other; it is read back. Never: knows what is in it.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickover.engine.files import state_errors
from tickover.engine.stores import Moved, Store
from tickover.errors import TickoverError

STACKS: Final = ".pulumi/stacks"


@dataclass(frozen=True, slots=True)
class Seen:
    """The state as last read or written: its key and tag (empty: there was none) and its digest."""

    key: str
    etag: str
    digest: str


class Checkpoints:
    """The state files of a store. packed: new ones are compressed. stamp: under which number a copy of each
    is retained, 0 for none."""

    def __init__(self, store: Store, packed: bool, stamp: Callable[[], int]) -> None:
        self.store = store
        self._gzip = packed
        self._stamp = stamp
        self._seen: dict[tuple[str, str], Seen] = {}

    def key(self, project: str, stack: str) -> str | None:
        """The state file's key, None if there is none."""
        plain = f"{STACKS}/{project}/{stack}.json"
        found = self.store.newest((plain, f"{plain}.gz"))
        if found is None and self.store.newest((f"{plain}.zst",)):
            raise TickoverError(
                "zstd-state",
                "State is compressed with zstd",
                f"{self.store.place(plain)}.zst: tickover reads plain and gzip state.",
                hint="PULUMI_DIY_BACKEND_ZSTD=false pulumi stack export | pulumi stack import",
            )
        return found

    def read(self, project: str, stack: str) -> bytes | None:
        """The state's text, None if there is none."""
        key = self.key(project, stack)
        blob = self.store.read(key) if key else None
        if key is None or blob is None:
            wanted = f"{STACKS}/{project}/{stack}.json" + (".gz" if self._gzip else "")
            self._seen[project, stack] = Seen(wanted, "", "")
            return None
        data = self._unpacked(key, blob.data)
        self._seen[project, stack] = Seen(key, blob.etag, digest_of(data))
        return data

    def _unpacked(self, key: str, data: bytes) -> bytes:
        with state_errors(Path(self.store.place(key)), "read"):
            return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data

    def before(self, project: str, stack: str, base: str | None) -> Seen:
        """The state that is to be replaced: the one that was read, which must still be there.

        base: the digest of the one that an operation began with."""
        if (project, stack) not in self._seen:
            self.read(project, stack)
        seen = self._seen[project, stack]
        if base is not None and base != seen.digest:
            raise self._moved(stack, seen.key)
        return seen

    def _moved(self, stack: str, key: str) -> TickoverError:
        place = self.store.place(key)
        return TickoverError(
            "state-moved",
            "State changed meanwhile",
            f"{place} was written by somebody else after it was read here, although {stack} was locked: has "
            "the lock been broken? Nothing was overwritten. What this operation did is in its journal; the "
            "next operation says where. Look at what is really there, and bring the state up to it:",
            address=stack,
            hint=f"tickover refresh -s {stack}",
        )

    def replace(self, project: str, stack: str, data: bytes, seen: Seen) -> None:
        """Puts data in the place of seen. Raises TickoverError ``state-moved`` if that is not there now."""
        store, plain = self.store, f"{STACKS}/{project}/{stack}.json"
        key, other = (f"{plain}.gz", plain) if self._gzip else (plain, f"{plain}.gz")
        content = gzip.compress(data, mtime=0) if self._gzip else data
        place = store.place(key)
        store.keep(key, f"{key}.bak")
        try:
            if seen.key == key and seen.etag:
                etag = store.replace(key, content, seen.etag)
            elif seen.etag or seen.key != key:  # the compression changed
                etag = store.write(key, content)
            else:
                etag = store.create(key, content)
        except Moved:
            raise self._moved(stack, key) from None
        back = store.read(key)
        if back is None or back.data != content:
            raise TickoverError(
                "state-damaged",
                "State was not stored faithfully",
                f"{place} does not read back as it was written. The previous state is in {place}.bak.",
                address=place,
            )
        self._seen[project, stack] = Seen(key, etag or back.etag, digest_of(data))
        if seen.etag and seen.key == other:
            store.keep(other, f"{other}.bak")
            store.delete(other)
        if stamp := self._stamp():
            store.write(f"{key}.{stamp}", content)


def digest_of(data: bytes) -> str:
    """What journals name a state by."""
    return hashlib.sha256(data).hexdigest()

"""State in a folder.

Owns: the files below one root. Promises: every write is atomic and on disk when it returns. Never: follows a
key out of the root.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tickover.engine.files import keep_previous, remove, state_errors, write_atomic
from tickover.engine.stores import Blob, Moved


class FolderStore:
    """Files below root. Conditions are checked and then acted on: whoever writes holds the stack's lock."""

    def __init__(self, root: Path, url: str = "") -> None:
        self.root = root
        self.url = url or f"file://{root}"

    def path(self, key: str) -> Path:
        return self.root / key

    def place(self, key: str) -> str:
        return str(self.path(key))

    def read(self, key: str) -> Blob | None:
        path = self.path(key)
        with state_errors(path, "read"):
            if not path.is_file():
                return None
            data = path.read_bytes()
        return Blob(data, _etag(data))

    def newest(self, keys: tuple[str, ...]) -> str | None:
        with state_errors(self.root, "read"):
            found = [key for key in keys if self.path(key).is_file()]
            return max(found, key=lambda key: self.path(key).stat().st_mtime_ns, default=None)

    def write(self, key: str, data: bytes) -> str:
        write_atomic(self.path(key), data)
        return _etag(data)

    def create(self, key: str, data: bytes) -> str:
        if self.read(key) is not None:
            raise Moved(key)
        return self.write(key, data)

    def replace(self, key: str, data: bytes, etag: str) -> str:
        present = self.read(key)
        if present is None or present.etag != etag:
            raise Moved(key)
        return self.write(key, data)

    def keep(self, key: str, backup: str) -> None:
        keep_previous(self.path(key), self.path(backup))

    def list(self, prefix: str) -> list[str]:
        folder = self.path(prefix)
        with state_errors(folder, "read"):
            if not folder.is_dir():
                return []
            return sorted(str(p.relative_to(self.root)) for p in folder.rglob("*") if p.is_file())

    def delete(self, key: str) -> bool:
        return remove(self.path(key))

    def delete_all(self, prefix: str) -> None:
        folder = self.path(prefix)
        with state_errors(folder, "removed"):
            if folder.exists():
                shutil.rmtree(folder)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""Where state lies: a folder or a bucket, behind one small protocol.

Owns: `Store` and the values that it takes and gives. Promises: keys are paths with slashes, the same in every
store. Never: knows what is in an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Blob:
    """An object's content, and the tag that changes with it."""

    data: bytes
    etag: str


class Moved(Exception):
    """A conditional write found another object than the one it was to replace, or found one at all."""


class Store(Protocol):
    """Objects by key. What goes wrong is a TickoverError that names the place and says what helps."""

    url: str

    def place(self, key: str) -> str:
        """How a message names the object."""

    def read(self, key: str) -> Blob | None:
        """The object, None if there is none."""

    def newest(self, keys: tuple[str, ...]) -> str | None:
        """Which of keys was written last; None if none of them exists."""

    def write(self, key: str, data: bytes) -> str:
        """Puts data there, whole or not at all, durably. Returns its tag."""

    def create(self, key: str, data: bytes) -> str:
        """`write`, but only if there is nothing yet; raises `Moved` otherwise."""

    def replace(self, key: str, data: bytes, etag: str) -> str:
        """`write`, but only onto the object of this tag; raises `Moved` otherwise."""

    def keep(self, key: str, backup: str) -> None:
        """Gives the present content of key, if any, the name backup too."""

    def list(self, prefix: str) -> list[str]:
        """Keys below the folder prefix, at any depth, sorted."""

    def delete(self, key: str) -> bool:
        """False if there was nothing."""

    def delete_all(self, prefix: str) -> None:
        """Deletes everything below the folder prefix."""

"""Files that must never be half written.

Owns: atomic replacement, and the translation of what a file system refuses into errors a person can act
on. Promises: after a failure the previous content is intact and no temporary file stays. Never: knows
what is in the files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tickover.errors import TickoverError

_CAUSES: Final = {
    errno.ENOSPC: ("disk-full", "Disk is full"),
    errno.EDQUOT: ("disk-full", "Disk quota is used up"),
    errno.EROFS: ("not-writable", "State folder is read-only"),
    errno.EACCES: ("not-writable", "State folder is not writable"),
    errno.EPERM: ("not-writable", "State folder is not writable"),
    errno.ENOTDIR: ("not-writable", "State folder is not writable"),
}
_UNSUPPORTED_LINK: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}
)


@contextmanager
def state_errors(path: Path, doing: str) -> Iterator[None]:
    """Turns an OSError inside into a TickoverError that names path. doing: ``written``, ``read`` …"""
    try:
        yield
    except OSError as error:
        code, summary = _CAUSES.get(error.errno or 0, ("state-io", f"State cannot be {doing}"))
        raise TickoverError(
            code, summary, f"{path} could not be {doing}: {error.strerror or error}.", address=str(path)
        ) from error


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces the content of path: temporary file beside it, fsync, rename, fsync of the folder."""
    with state_errors(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        # One fixed name a file: writers hold the stack's lock, and a killed one leaves no pile behind.
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames and removals in folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def keep_previous(path: Path, backup: Path) -> None:
    """Gives the present content of path the name backup too; path itself stays."""
    with state_errors(backup, "written"):
        temporary = backup.with_name(f".{backup.name}.tmp")
        with suppress(FileNotFoundError):
            temporary.unlink()
        try:
            os.link(path, temporary)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED_LINK:
                raise
            write_atomic(backup, path.read_bytes())
            return
        os.replace(temporary, backup)


def remove(path: Path) -> bool:
    """Removes a file; False if there was none."""
    with state_errors(path, "removed"):
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        sync_folder(path.parent)
        return True

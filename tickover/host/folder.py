"""The host's data folder: made, checked, and held by one host at a time.

Owns: its lock. Promises: one host per data folder; the lock passes from a host to its successor without being
free in between. Never: reads or writes what lies in the folder besides.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tickover.errors import Exit, TickoverError
from tickover.paths import host_dir, nas_dir

LOCK_SECONDS = 0.5


def prepare(home: Path) -> None:
    """Make the data folders, or say why that cannot be."""
    directory = host_dir(home)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "logs").mkdir(exist_ok=True)
        nas_dir(home).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(b"x" * 4096)
            probe.flush()
    except OSError as err:
        raise unwritable(directory, err) from err


def unwritable(path: Path, err: OSError) -> TickoverError:
    """A data folder that cannot be used, as a person can act on it."""
    if err.errno == errno.ENOSPC:
        return TickoverError(
            "disk-full",
            "No space left on disk",
            f"Writing in {path} failed: {err.strerror}.",
            hint=f"df -h {path}    # free some space, then try again",
            exit_code=Exit.RESOURCE,
        )
    return TickoverError(
        "data-dir-unwritable",
        "Host data folder cannot be written",
        f"Writing in {path} failed: {err.strerror or err}.",
        hint=f"ls -ld {path}    # give yourself write access, or set TICKOVER_HOME",
        exit_code=Exit.RESOURCE,
    )


@contextlib.contextmanager
def single_host(directory: Path) -> Iterator[IO[str]]:
    """Hold the lock of a data folder, or say who holds it."""
    lock = open_lock(directory)
    try:
        if not _locked(lock):
            raise TickoverError(
                "host-running",
                "Host is running already",
                f"Process {lock.read().strip() or 'unknown'} serves {directory}.",
                hint="tickover host status",
            )
        sign(lock)
        yield lock
    finally:
        lock.close()


def sign(lock: IO[str]) -> None:
    """Write into a lock that is held who holds it."""
    lock.seek(0)
    lock.truncate()
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _locked(lock: IO[str]) -> bool:
    """Take the lock; somebody who only looks whether a host runs holds it for an instant."""
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)


def open_lock(directory: Path) -> IO[str]:
    """The lock file, opened for reading and writing, created if need be."""
    try:
        return os.fdopen(os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")
    except OSError as err:
        raise unwritable(directory, err) from err

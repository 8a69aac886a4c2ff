"""The logs of instances: one file each, bounded.

Owns: the files in the log folder. Promises: a log is cut while its writer goes on writing (it appends), at
least the last half of it is kept in `.1`. Never: reads a log beyond its last lines.
"""

from __future__ import annotations

import os
from pathlib import Path

TAIL_BYTES = 8192
TAIL_LINES = 20


def open_log(path: Path) -> int:
    """A descriptor that appends; for the owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)


def tail(path: Path, lines: int = TAIL_LINES, max_bytes: int = TAIL_BYTES) -> str:
    """The last lines, at most max_bytes; empty if there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            text = file.read(max_bytes).decode(errors="replace")
    except OSError:  # no log was written, or it was tidied away: nothing to show
        return ""
    found = text.splitlines()
    if size > max_bytes:
        found = found[1:]  # the first line is cut
    return "\n".join(found[-lines:])


def cut(path: Path, max_bytes: int) -> int:
    """Keep a log below its bound: its last half goes to `.1`, the file starts again. How much was taken
    from it; 0 if it was not cut."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0
    if size <= max_bytes:
        return 0
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(end - max_bytes // 2)
        kept = file.read()  # with what was written meanwhile
        older = path.with_suffix(".log.1")
        older.touch(mode=0o600)
        older.write_bytes(kept)
        file.truncate(0)
    return end - max_bytes // 2 + len(kept)


def tidy(folder: Path, living: set[str], kept: int) -> None:
    """Remove the oldest logs of instances that are gone, all but `kept`."""
    dead = [path for path in folder.glob("*.log") if path.stem not in living]
    dead.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in dead[kept:]:
        path.unlink(missing_ok=True)
        path.with_suffix(".log.1").unlink(missing_ok=True)
        path.with_suffix(".times").unlink(missing_ok=True)

"""The end of an instance's log, as the caller of one invocation gets it.

Owns: where a log stood when the call began, and the text since then in the form of X-Fc-Log-Result. Promises:
never more than FC's 4 KB; a log that is not there is an empty one. Never: follows a log, waits for it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickover.host.instance import concurrency_of
from tickover.host.model import Lease, Leases
from tickover.host.registry import Missing, ObjectRegistry

MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class LogMark:
    """A place in a log."""

    path: Path
    size: int

    def since(self) -> bytes:
        """The last of what was written after it, in base64."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                # A log that is shorter now was cut meanwhile: what is in it came after the mark.
                begin = self.size if self.size <= size else 0
                file.seek(max(begin, size - MAX_BYTES))
                return base64.b64encode(file.read(MAX_BYTES))
        except FileNotFoundError:  # tidied away, or nothing was ever written
            return b""


def log_mark(path: Path) -> LogMark:
    """Where a log ends now."""
    try:
        return LogMark(path, path.stat().st_size)
    except FileNotFoundError:
        return LogMark(path, 0)


def mark_of(registry: ObjectRegistry, leases: Leases, lease: Lease) -> LogMark | None:
    """For a call with this lease. As on FC, none where calls run side by side: nobody could say whose lines
    are whose."""
    try:
        spec = registry.version(lease.function_name, lease.version_id)
    except Missing:  # deleted meanwhile
        return None
    path = leases.log_path(lease.instance_id)
    return log_mark(Path(path)) if concurrency_of(spec) == 1 and path is not None else None

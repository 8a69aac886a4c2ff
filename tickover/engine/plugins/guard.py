"""Ends the plugins of an engine that was killed: a process of its own, run as a script.

Owns: the list of process groups that the engine tells on stdin, as lines ``+GROUP`` and ``-GROUP``.
Promises: when stdin closes, whatever closed it, every group still listed is terminated and then killed.
Never: imports anything but the standard library (it must start at once).
"""

from __future__ import annotations

import os
import signal
import sys
import time

_GRACE_SECONDS = 2.0
_STEP_SECONDS = 0.05


def watch() -> None:
    """Follow stdin to its end, then end what is left."""
    groups: set[int] = set()
    while line := sys.stdin.buffer.readline():
        change = groups.add if line[:1] == b"+" else groups.discard
        change(int(line[1:]))
    end(groups)


def end(groups: set[int]) -> None:
    """Terminate the groups, and kill those that stay."""
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + _GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(_STEP_SECONDS)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    watch()

"""Log lines as people read them.

Owns: their form on a terminal. Promises: an instance keeps its colour; foreign text cannot steer a terminal;
an access line names how its request ended whenever that was not well. Never: writes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

from tickover.views.terminal import Look, clean

_COLORS: Final = ("cyan", "yellow", "green", "magenta", "blue")
_SHORT: Final = len("2026-01-02T03:04:05.678")


class LogLines:
    """Makes lines. with_names: before each line whose it is. with_times: and when it was written."""

    def __init__(self, look: Look, *, with_names: bool, with_times: bool) -> None:
        self._look = look
        self._with_names = with_names
        self._with_times = with_times
        self._width = 0

    def line(self, row: Mapping[str, Any]) -> str:
        text = clean(str(row["message"]).replace("\n", " "))
        if row["stream"] == "host":
            text = self._look.paint(text, "red")
        if self._with_names:
            text = f"{self._name(row)} {text}"
        return f"{moment(row)} {text}" if self._with_times else text

    def _name(self, row: Mapping[str, Any]) -> str:
        name = f"{row['function'] or '-'}/{row['instance']}"
        self._width = max(self._width, len(name))
        color = _COLORS[zlib.crc32(str(row["instance"]).encode()) % len(_COLORS)]
        return self._look.paint(f"{name:<{self._width}} |", color)


def moment(row: Mapping[str, Any]) -> str:
    """To the millisecond, in UTC."""
    return str(row["time"])[:_SHORT] + "Z"


def access_line(row: Mapping[str, Any], look: Look) -> str:
    """One request."""
    if "dropped" in row:
        return f"{moment(row)} " + look.paint(f"{row['dropped']} requests could not be logged", "red")
    status, end, reason = int(row["status"]), str(row["end"]), str(row["reason"])
    is_bad = end != "complete" or status >= 500
    shown = look.paint(
        str(status) if status else "---", "red" if is_bad else "green" if status < 400 else "yellow"
    )
    where = "/".join(part for part in (str(row["function"]), str(row["instance"])) if part) or "host"
    notes = [f"{float(row['total_ms']):.1f} ms", f"{row['bytes_out']} B"]
    if row["woke"]:
        notes.append(f"woke an instance ({float(row['waited_ms']):.0f} ms)")
    if row["error_type"]:
        notes.append(str(row["error_type"]))
    if end != "complete":
        notes.append(f"{end}: {reason}" if reason else end)
    path = clean(str(row["path"]).replace("\n", " "))
    return f"{moment(row)} {where} {clean(str(row['method']))} {path} {shown} {clean(', '.join(notes))}"

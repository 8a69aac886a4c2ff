"""The lines of an instance's log, each with the time at which it was written.

Owns: how bytes of a log become lines. Promises: a line is told once and whole, also over a cut of the log;
what a cut has taken before it was read is told; never more than a chunk of a log is in memory. Never: waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickover.host.log_index import LogIndex, read_index

MAX_LINE: Final = 16 * 1024  # a longer one is told in pieces
CHUNK: Final = 64 * 1024
OUTPUT: Final = "output"  # standard output and standard error, which share the file
HOST: Final = "host"


@dataclass(frozen=True, slots=True)
class Line:
    """begin, end: its places in the log, with its line feed."""

    time_ns: int
    begin: int
    end: int
    text: bytes
    stream: str = OUTPUT


def lines(log: Path, begin: int, end: int, *, with_rest: bool = True) -> Iterator[Line]:
    """The lines that lie from begin, where one begins, to end. with_rest: the last may lack its end."""
    at = begin
    while at < end:
        index = read_index(log)
        if at < index.older:
            first = line_begin(log, index, index.older)
            lost = f"tickover: {first - at} bytes of this log were cut off before they were read"
            yield Line(index.time_of(first), at, first, lost.encode(), HOST)
            at = first
            continue
        data = read_at(log, index, at, min(CHUNK, end - at))
        if not data:
            return
        used = 0
        for size, text in split(data):
            yield Line(index.time_of(at + used + size), at + used, at + used + size, text)
            used += size
        if not used:  # the beginning of a line
            if with_rest:
                yield Line(index.time_of(end), at, at + len(data), data.rstrip(b"\r"))
            return
        at += used


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole lines at the beginning of data: how long each is, and its text without its end."""
    at = 0
    while (feed := data.find(b"\n", at, at + MAX_LINE)) >= 0 or len(data) - at >= MAX_LINE:
        if feed >= 0:
            yield feed + 1 - at, data[at:feed].rstrip(b"\r")
            at = feed + 1
            continue
        size = MAX_LINE
        while size > MAX_LINE - 4 and data[at + size - 1] & 0x80 and is_inside(data, at + size):
            size -= 1
        yield size, data[at : at + size]
        at += size


def is_inside(data: bytes, at: int) -> bool:
    """Whether a character of UTF-8 that began before goes on there; at the end of data nobody can say."""
    return at >= len(data) or data[at] & 0xC0 == 0x80


def line_begin(log: Path, index: LogIndex, at: int) -> int:
    """Where the line begins that a place is in; in what a cut has left, the first one that is whole."""
    if at <= index.older:
        if not index.older:
            return 0
        data = read_at(log, index, index.older, CHUNK)
        return index.older + data.find(b"\n") + 1
    first = max(index.older, at - MAX_LINE)
    feed = read_at(log, index, first, at - first).rfind(b"\n")
    if feed >= 0:
        return first + feed + 1
    return first if first == index.older == 0 else at


def tail_begin(log: Path, index: LogIndex, begin: int, end: int, count: int) -> int:
    """Where the last so many lines of what lies between two places begin."""
    at, left, is_last = end, count, True
    while at > begin:
        first = max(begin, at - CHUNK)
        data = read_at(log, index, first, at - first)
        if is_last and data.endswith(b"\n"):
            left += 1  # the end of the last line, and no beginning of another
        is_last = False
        feed = len(data)
        while left and (feed := data.rfind(b"\n", 0, feed)) >= 0:
            left -= 1
        if not left:
            return first + feed + 1
        at = first
    return begin


def read_at(log: Path, index: LogIndex, at: int, size: int) -> bytes:
    """Up to so many bytes from a place on: of the log, or of what was kept when it was cut. Less at the end
    of either."""
    path, first = (log.with_suffix(".log.1"), index.older) if at < index.base else (log, index.base)
    try:
        with path.open("rb") as file:
            file.seek(at - first)
            data = file.read(size if path is log else min(size, index.base - at))
    except FileNotFoundError:  # tidied away
        return b""
    if at < index.base and at + len(data) == index.base and len(data) < size:
        return data + read_at(log, index, index.base, size - len(data))
    return data

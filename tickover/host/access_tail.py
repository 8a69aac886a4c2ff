"""The access log read back: once, or followed over its rotation.

Owns: the order of its files, and what a place in them is called. Promises: a line is told once, also to who
comes back with the place of the last one; memory for one piece and the last lines only. Never: writes.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tickover.host.log_stream import QUIET_SECONDS, ROUND_SECONDS, LogQuery, in_pieces
from tickover.host.routes import ADMIN_PREFIX

_CHUNK: Final = 64 * 1024
_AT_ONCE: Final = 512  # lines looked at before others get the event loop


@dataclass(frozen=True, slots=True)
class Place:
    """Behind a line: file is the inode's number, which stays when the file is moved out of the way."""

    file: int
    offset: int

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"


def parse_place(text: str) -> Place | None:
    file, colon, offset = text.partition(":")
    return Place(int(file), int(offset)) if colon and file.isdigit() and offset.isdigit() else None


def files_of(path: Path) -> list[tuple[int, Path]]:
    """The log's files with the numbers of their inodes, the oldest first."""
    found: list[tuple[int, Path]] = []
    for older in path.parent.glob(path.name + "*"):
        ending = older.name[len(path.name) :]
        if ending and not (ending[0] == "." and ending[1:].isdigit()):
            continue
        found.append((int(ending[1:] or 0), older))
    files = []
    for _, older in sorted(found, reverse=True):
        try:
            files.append((older.stat().st_ino, older))
        except FileNotFoundError:  # moved meanwhile: it is found under its new name next time
            continue
    return files


def lines_after(path: Path, place: Place | None, since_ns: int = 0) -> Iterator[tuple[Place, bytes]]:
    """What is there behind a place, line by line; all of it, where the place is None or its file was removed.
    since_ns: files that were complete before then need not be read."""
    files = files_of(path)
    numbers = [number for number, _ in files]
    begin = numbers.index(place.file) if place is not None and place.file in numbers else 0
    for number, file in files[begin:]:
        offset = place.offset if place is not None and place.file == number else 0
        try:
            with file.open("rb") as opened:
                stat = os.fstat(opened.fileno())
                if stat.st_ino != number:  # the files were moved meanwhile
                    yield from lines_after(path, Place(number, offset), since_ns)
                    return
                opened.seek(offset if stat.st_mtime_ns >= since_ns else stat.st_size)
                for text in opened:
                    if not text.endswith(b"\n"):  # it is being written
                        break
                    offset += len(text)
                    yield Place(number, offset), text
        except FileNotFoundError:  # moved between the two looks: told the next time
            return


def lines_before(path: Path) -> Iterator[tuple[Place, bytes]]:
    """What is there, the last line first."""
    for number, file in reversed(files_of(path)):
        try:
            with file.open("rb") as opened:
                at, rest = opened.seek(0, os.SEEK_END), b""
                while at:
                    first = max(0, at - _CHUNK)
                    opened.seek(first)
                    data = opened.read(at - first) + rest
                    begin = data.find(b"\n") + 1 if first else 0
                    end, at, rest = first + len(data), first, data[:begin] if begin or not first else data
                    for text in reversed(
                        data[begin:].splitlines(keepends=True) if begin or not first else ()
                    ):
                        if text.endswith(b"\n"):
                            yield Place(number, end), text
                        end -= len(text)
        except FileNotFoundError:  # removed meanwhile, as the oldest
            return


def is_wanted(query: LogQuery, said: dict[str, Any]) -> bool:
    """Whether a line of the access log is of the functions, the instance and the time that are asked for. One
    that tells how many are missing is wanted by all; what the host itself was asked by its tools, such as for
    this very log, by nobody."""
    at = wall_ns(said.get("time", ""))
    if (query.since_ns is not None and at < query.since_ns) or (
        query.until_ns is not None and at >= query.until_ns
    ):
        return False
    return "dropped" in said or (
        not said.get("path", "").startswith(ADMIN_PREFIX + "/")
        and (not query.functions or said.get("function") in query.functions)
        and query.instance in ("", said.get("instance"))
        and query.qualifier in ("", said.get("qualifier"))
        and query.version in ("", said.get("version"))
    )


def wall_ns(text: str) -> int:
    """A time as the log writes it, in ns since the epoch; 0 for what is none."""
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000
    except ValueError:
        return 0


def told(query: LogQuery, place: Place, text: bytes) -> bytes | None:
    """A line as the stream tells it, with the place behind it; None if it is not wanted."""
    try:
        said = json.loads(text)
    except ValueError:  # cut off by a host that was killed
        return None
    if not isinstance(said, dict) or not is_wanted(query, said):
        return None
    return json.dumps({**said, "place": str(place)}).encode() + b"\n"


async def stream(
    path: Path, query: LogQuery, after: Place | None, is_over: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """The lines that are wanted, in the order in which the requests ended."""
    reader = Reader(path, query, after)
    if query.tail is not None and after is None:
        for piece in in_pieces(await reader.last(query.tail)):
            yield piece
    spoke = time.monotonic()
    is_done = query.tail is not None and not query.follow
    while not is_done:
        until = query.until_ns
        is_done = not query.follow or is_over() or (until is not None and time.time_ns() >= until)
        async for piece in reader.more():
            yield piece
            spoke = time.monotonic()
        if is_done:
            return
        if time.monotonic() - spoke > QUIET_SECONDS:
            yield b"\n"
            spoke = time.monotonic()
        await asyncio.sleep(ROUND_SECONDS)


class Reader:
    """Where one reader stands."""

    def __init__(self, path: Path, query: LogQuery, place: Place | None) -> None:
        self._path = path
        self._query = query
        self._place = place

    async def last(self, count: int) -> list[bytes]:
        """The last so many; what comes after them is more."""
        found: list[bytes] = []
        for looked, (place, text) in enumerate(lines_before(self._path), 1):
            self._place = self._place or place
            data = told(self._query, place, text)
            if data is not None:
                found.append(data)
            if len(found) >= count:
                break
            if looked % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return found[::-1]

    async def more(self) -> AsyncGenerator[bytes, None]:
        """All that is there behind the place."""
        found: list[bytes] = []
        unread = lines_after(self._path, self._place, self._query.since_ns or 0)
        for looked, (place, text) in enumerate(unread, 1):
            self._place = place
            data = told(self._query, place, text)
            if data is not None:
                found.append(data)
            if looked % _AT_ONCE == 0:
                await asyncio.sleep(0)
                if found:
                    yield b"".join(found)
                    found.clear()
        if found:
            yield b"".join(found)

"""The logs of several instances as one stream of JSON lines, once or followed.

Owns: which logs a query is about, the order of their lines, where a follower stands in each. Promises: a log
is read as the caller takes it; a line of a log is told once, in the order of the log; lines of several logs
that are there together come in the order of their times. Never: writes to a log.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickover.host.access import wall
from tickover.host.log_index import Whose, look, read_index, whose_log
from tickover.host.log_lines import Line, line_begin, lines, tail_begin
from tickover.host.model import InstanceView

PIECE_BYTES: Final = 16 * 1024  # made at a stretch: a millisecond or two
ROUND_SECONDS: Final = 0.25
QUIET_SECONDS: Final = 15.0  # then an empty line is sent, so that the caller knows that somebody is there
REST_NS: Final = 1_000_000_000  # so long may the end of a line take
_AT_ONCE: Final = 512  # lines looked at before others get the event loop


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Empty or None: any. until_ns is excluded. tail: the last so many lines of all together."""

    functions: frozenset[str] = frozenset()
    instance: str = ""
    qualifier: str = ""
    version: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    tail: int | None = None
    follow: bool = False

    def wants(self, instance_id: str, whose: Whose) -> bool:
        return (
            (not self.functions or whose.function in self.functions)
            and self.instance in ("", instance_id)
            and self.qualifier in ("", whose.qualifier)
            and self.version in ("", whose.version)
        )


@dataclass(frozen=True, slots=True)
class Log:
    """One instance's."""

    path: Path
    whose: Whose

    @property
    def instance_id(self) -> str:
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Logs:
    """What is there. is_over: this host does not speak for the instances any more."""

    folder: Path
    instances: Callable[[], Iterable[InstanceView]]
    is_over: Callable[[], bool]

    def living(self, query: LogQuery) -> dict[str, tuple[Log, bool]]:
        """Of the instances that the host knows: their logs, and whether they have ended."""
        found = {}
        for view in self.instances():
            whose = Whose(view.function_name, view.qualifier, view.version_id)
            if query.wants(view.instance_id, whose):
                log = Log(self.folder / f"{view.instance_id}.log", whose)
                found[view.instance_id] = (log, view.destroyed_ns is not None)
        return found

    def all(self, query: LogQuery) -> list[Log]:
        """Those of instances that are gone, too."""
        known = {name: log for name, (log, _) in self.living(query).items()}
        for path in sorted(self.folder.glob("*.log")):
            if path.stem not in known and query.wants(path.stem, whose := whose_log(path)):
                known[path.stem] = Log(path, whose)
        return [known[name] for name in sorted(known)]


async def selected(logs: Sequence[Log], query: LogQuery) -> dict[str, tuple[int, int]]:
    """From which place to which the query is about each log, by instance."""
    spans = {log.instance_id: _span(log, query) for log in logs}
    if query.tail is None:
        return spans
    newest: list[tuple[int, str, int]] = []  # a heap
    looked = 0
    for log in logs:
        begin, end = spans[log.instance_id]
        begin = tail_begin(log.path, read_index(log.path), begin, end, query.tail)
        for line in lines(log.path, begin, end):
            found = (line.time_ns, log.instance_id, line.begin)
            heapq.heappush(newest, found) if len(newest) < query.tail else heapq.heappushpop(newest, found)
            looked += 1
            if looked % _AT_ONCE == 0:
                await asyncio.sleep(0)
    begins: dict[str, int] = {}
    for _, instance_id, begin in newest:
        begins[instance_id] = min(begin, begins.get(instance_id, begin))
    return {name: (begins.get(name, end), end) for name, (_, end) in spans.items()}


def _span(log: Log, query: LogQuery) -> tuple[int, int]:
    end = look(log.path, log.whose)
    index = read_index(log.path)
    if query.until_ns is not None:
        end = min(end, line_begin(log.path, index, index.end_of(query.until_ns)))
    begin = index.older if query.since_ns is None else index.begin_of(query.since_ns)
    return min(end, line_begin(log.path, index, begin)), end


def merged(parts: Iterable[tuple[Log, Iterator[Line]]]) -> Iterator[tuple[Log, Line]]:
    """Lines of several logs in the order of their times; each log's own order stays."""

    def of(log: Log, found: Iterator[Line]) -> Iterator[tuple[int, str, int, Log, Line]]:
        return ((line.time_ns, log.instance_id, line.begin, log, line) for line in found)

    for *_, log, line in heapq.merge(*(of(log, found) for log, found in parts), key=lambda found: found[:3]):
        yield log, line


def entry(log: Log, line: Line) -> bytes:
    """A line as one JSON object with its line feed. place: where it ends in its log."""
    return (
        json.dumps(
            {
                "time": wall(line.time_ns),
                "function": log.whose.function,
                "qualifier": log.whose.qualifier,
                "version": log.whose.version,
                "instance": log.instance_id,
                "stream": line.stream,
                "message": line.text.decode(errors="replace"),
                "place": line.end,
            }
        ).encode()
        + b"\n"
    )


def in_pieces(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Together as far as that is worth it."""
    found: list[bytes] = []
    size = 0
    for data in entries:
        found.append(data)
        size += len(data)
        if size >= PIECE_BYTES:
            yield b"".join(found)
            found, size = [], 0
    if found:
        yield b"".join(found)


async def stream(logs: Logs, query: LogQuery) -> AsyncGenerator[bytes, None]:
    """What a query asks for, in pieces of JSON lines. A follower's ends when the host leaves, or at until."""
    there = logs.all(query)
    spans = await selected(there, query)
    follower = Follower(logs, query, {log.instance_id: spans[log.instance_id][0] for log in there})
    living = logs.living(query) if query.follow else {}
    parts = [
        (log, lines(log.path, *spans[log.instance_id], with_rest=log.instance_id not in living))
        for log in there
    ]
    for piece in in_pieces(follower.told(merged(parts))):
        yield piece
    spoke = time.monotonic()
    while query.follow and not logs.is_over():
        is_last = query.until_ns is not None and time.time_ns() >= query.until_ns
        for piece in in_pieces(follower.round(time.time_ns())):
            yield piece
            spoke = time.monotonic()
        if is_last:
            return
        if time.monotonic() - spoke > QUIET_SECONDS:
            yield b"\n"
            spoke = time.monotonic()
        await asyncio.sleep(ROUND_SECONDS)


class Follower:
    """Where one reader stands in each log. at: by instance; where it is silent, at the log's beginning."""

    def __init__(self, logs: Logs, query: LogQuery, at: dict[str, int]) -> None:
        self._logs = logs
        self._query = query
        self._at = at
        self._living: dict[str, Log] = {}  # at the last round
        self._grown: dict[str, tuple[int, int]] = {}  # how long a log was, and since when it is so

    def told(self, found: Iterable[tuple[Log, Line]]) -> Iterator[bytes]:
        """As entries; what is told is not told again."""
        for log, line in found:
            self._at[log.instance_id] = line.end
            yield entry(log, line)

    def round(self, now_ns: int) -> Iterator[bytes]:
        """What has been written since."""
        found = self._logs.living(self._query)
        ended = {name: (log, True) for name, log in self._living.items() if name not in found}
        self._living = {name: log for name, (log, _) in found.items()}
        parts = []
        for name, (log, has_ended) in (found | ended).items():
            begin, end = self._at.get(name, 0), look(log.path, log.whose)
            size, since = self._grown.get(name, (-1, now_ns))
            if end != size:
                since = now_ns
            self._grown[name] = (end, since)
            if end > begin:
                with_rest = has_ended or now_ns - since > REST_NS
                parts.append((log, self._wanted(lines(log.path, begin, end, with_rest=with_rest))))
        for name in ended:
            del self._grown[name]
        return self.told(merged(parts))

    def _wanted(self, found: Iterator[Line]) -> Iterator[Line]:
        """Of a window of times."""
        since, until = self._query.since_ns, self._query.until_ns
        for line in found:
            if until is not None and line.time_ns >= until:
                return
            if since is None or line.time_ns >= since:
                yield line

"""When the lines of an instance's log were written, and whose log it is: a small file beside the log.

Owns: `<instance>.times`. Promises: a place in a log keeps its number when the log is cut; the instance writes
its log itself and pays nothing for its times; the file is bounded, and says when with the precision of the
looks, exactly where the instance was silent afterwards. Never: reads a log's text.
"""

from __future__ import annotations

import json
import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from tickover.host.runtimes import logs

MAX_LOOKS: Final = 16_384
_HEAD_BYTES: Final = 512
_LOOK_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Whose:
    """The instance's function, as a person names it; empty where nobody knows any more."""

    function: str = ""
    qualifier: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class LogIndex:
    """Places are bytes since the log's very first one. base: of the file's first byte. older: of the first
    byte of what was kept when it was cut. ends, times: up to which place it was written when."""

    whose: Whose = Whose()
    base: int = 0
    older: int = 0
    ends: Sequence[int] = ()
    times: Sequence[int] = ()

    def time_of(self, end: int) -> int:
        """When a line that ends before this place was complete, at the latest."""
        at = bisect_left(self.ends, end)
        return self.times[min(at, len(self.times) - 1)] if self.times else 0

    def begin_of(self, since_ns: int) -> int:
        """Whatever was complete before this place is older."""
        at = bisect_left(self.times, since_ns)
        return max(self.older, self.ends[at - 1]) if at else self.older

    def end_of(self, until_ns: int) -> int:
        """What is complete at this place is older; what comes after it is not."""
        at = bisect_left(self.times, until_ns)
        return max(self.older, self.ends[at - 1]) if at else self.older


def times_path(log: Path) -> Path:
    return log.with_suffix(".times")


def read_index(log: Path) -> LogIndex:
    """What is known of a log; nothing, where nobody has looked at it yet."""
    try:
        data = times_path(log).read_bytes()
    except FileNotFoundError:
        return LogIndex()
    index = _head(data[:_HEAD_BYTES])
    looks = array("q", data[_HEAD_BYTES : len(data) - (len(data) - _HEAD_BYTES) % _LOOK_BYTES])
    if sys.byteorder == "big":
        looks.byteswap()
    return replace(index, ends=looks[0::2], times=looks[1::2])


def whose_log(log: Path) -> Whose:
    """Whose log it is, as far as anybody knows."""
    try:
        with times_path(log).open("rb") as file:
            return _head(file.read(_HEAD_BYTES)).whose
    except FileNotFoundError:
        return Whose()


def look(log: Path, whose: Whose | None = None) -> int:
    """Note how long a log is, and when it became so; how long it is now. Raises OSError."""
    try:
        stat = log.stat()
    except FileNotFoundError:
        return 0
    try:
        file = times_path(log).open("r+b")
    except FileNotFoundError:
        _write(log, LogIndex(whose or Whose()))
        file = times_path(log).open("r+b")
    with file:
        index = _head(file.read(_HEAD_BYTES))
        count = max(0, file.seek(0, 2) - _HEAD_BYTES) // _LOOK_BYTES
        end = when = 0
        if count:
            file.seek(_HEAD_BYTES + (count - 1) * _LOOK_BYTES)
            end, when = _pair(file.read(_LOOK_BYTES))
        if whose is not None and not index.whose.function:
            index = replace(index, whose=whose)
            file.seek(0)
            file.write(_head_bytes(index))
        if index.base + stat.st_size < end:  # a host was killed between the cut and its note of it
            index = replace(index, base=end, older=end)
            file.seek(0)
            file.write(_head_bytes(index))
        if index.base + stat.st_size > end:
            file.seek(_HEAD_BYTES + count * _LOOK_BYTES)
            file.write(_look_bytes(index.base + stat.st_size, max(when, stat.st_mtime_ns)))
            count += 1
    if count > MAX_LOOKS:
        _write(log, thinned(read_index(log)))
    return index.base + stat.st_size


def cut(log: Path, max_bytes: int) -> bool:
    """`logs.cut`, and what that does to the places. Raises OSError."""
    look(log)
    taken = logs.cut(log, max_bytes)
    if not taken:
        return False
    index = read_index(log)
    base = index.base + taken
    older = base - log.with_suffix(".log.1").stat().st_size
    first = max(0, bisect_left(index.ends, older) - 1)
    _write(log, LogIndex(index.whose, base, older, index.ends[first:], index.times[first:]))
    return True


def thinned(index: LogIndex) -> LogIndex:
    """Half as precise about the older half."""
    half = len(index.ends) // 2
    # Each look that is left speaks for the one before it, so the later of two stays.
    ends = [*index.ends[1:half:2], *index.ends[half - half % 2 :]]
    times = [*index.times[1:half:2], *index.times[half - half % 2 :]]
    return replace(index, ends=ends, times=times)


def _write(log: Path, index: LogIndex) -> None:
    path = times_path(log)
    draft = path.with_suffix(".times.new")
    looks = b"".join(_look_bytes(end, when) for end, when in zip(index.ends, index.times, strict=True))
    draft.touch(mode=0o600)
    draft.write_bytes(_head_bytes(index) + looks)
    draft.replace(path)


def _head_bytes(index: LogIndex) -> bytes:
    text = json.dumps({"base": index.base, "older": index.older, **asdict(index.whose)})
    return text.encode().ljust(_HEAD_BYTES - 1) + b"\n"


def _head(data: bytes) -> LogIndex:
    try:
        said = json.loads(data)
        return LogIndex(
            Whose(said["function"], said["qualifier"], said["version"]), said["base"], said["older"]
        )
    except (ValueError, KeyError, TypeError):  # written half, by a host that was killed: begin anew
        return LogIndex()


def _look_bytes(end: int, when: int) -> bytes:
    return end.to_bytes(8, "little") + when.to_bytes(8, "little")


def _pair(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")

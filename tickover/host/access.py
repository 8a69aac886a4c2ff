"""The access log: what is written about one request when its exchange is over.

Owns: the form of a line, and which requests are written. Promises: no header but Host, no query, no body and
no text that a caller has sent gets into a line, but for the path, which is cut; errors and losses are always
kept. Never: writes (`access_file` does), counts (`request_stats` does).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final

from tickover.errors import ConfigError
from tickover.host.clock import SECOND_NS
from tickover.host.model import Lease

VARIABLE: Final = "TICKOVER_ACCESS_SAMPLE"
_PATH_LENGTH: Final = 512
_HOST_LENGTH: Final = 253
_MILLI: Final = 1_000_000


NOT_NOTED: Final = -1


class End(Enum):
    """How an exchange ended, seen from the caller."""

    COMPLETE = "complete"  # a whole answer, whatever its status
    CALLER_LEFT = "caller left"
    BROKEN = "broken"  # the instance or the host failed it; the reason is told
    TIMEOUT = "timeout"


@dataclass(slots=True)
class Trace:
    """One exchange as it goes; times are monotonic, 0 is never."""

    request_id: str
    method: str
    path: str
    host: str
    began_ns: int
    function_name: str = ""
    qualifier: str = ""
    version_id: str = ""
    instance_id: str = ""
    woke: bool = False
    waited_ns: int = 0
    prefix: str = ""  # of its prompt, see Lease
    status: int = 0  # 0: the caller has seen none
    error_type: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    first_byte_ns: int = 0
    ended_ns: int = 0
    ended_wall_ns: int = 0
    end: End = End.COMPLETE
    reason: str = ""
    protocol: str = "1.1"  # the version of HTTP
    slot: int = NOT_NOTED  # see `open_requests`

    def granted(self, lease: Lease) -> None:
        """It has got an instance; a second one adds its wait."""
        self.function_name, self.qualifier = lease.function_name, lease.qualifier
        self.version_id, self.instance_id = lease.version_id, lease.instance_id
        self.woke = self.woke or lease.woke
        self.waited_ns += lease.waited_ns
        self.prefix = lease.prefix

    def sent(self, size: int, now_ns: int) -> None:
        """Bytes of an answer have gone to the caller."""
        self.bytes_out += size
        if not self.first_byte_ns:
            self.first_byte_ns = now_ns


Told = Callable[[Trace], None]


def unheard(trace: Trace) -> None:
    """Nobody wants to know."""


def is_kept(trace: Trace, share: float) -> bool:
    """Whether it is written: errors and losses are, of the rest a share, chosen by the request's id."""
    if trace.end is not End.COMPLETE or trace.status >= 400:
        return True
    return int(trace.request_id[:8], 16) < share * 0x1_0000_0000


def line(trace: Trace) -> str:
    """The request as one JSON object, without the line's end.

    Written by hand: on a busy host this is the largest single part of what a request costs. What could hold
    a character that JSON escapes goes through `_quoted`; the rest is numbers and names that are checked.
    """
    began_ns = trace.began_ns
    total_ns = trace.ended_ns - began_ns
    first = f"{(trace.first_byte_ns - began_ns) / _MILLI:.3f}" if trace.first_byte_ns else "null"
    return (
        f'{{"time": "{wall(trace.ended_wall_ns - total_ns)}", "request_id": "{trace.request_id}", '
        f'"host": {_quoted(trace.host[:_HOST_LENGTH])}, "method": {_quoted(trace.method)}, '
        f'"path": {_quoted(trace.path[:_PATH_LENGTH])}, "protocol": "HTTP/{trace.protocol}", '
        f'"function": {_quoted(trace.function_name)}, '
        f'"qualifier": {_quoted(trace.qualifier)}, "version": {_quoted(trace.version_id)}, '
        f'"instance": {_quoted(trace.instance_id)}, "status": {trace.status}, '
        f'"error_type": {_quoted(trace.error_type)}, "bytes_in": {trace.bytes_in}, '
        f'"bytes_out": {trace.bytes_out}, "waited_ms": {trace.waited_ns / _MILLI:.3f}, '
        f'"woke": {"true" if trace.woke else "false"}, "prefix": "{trace.prefix}", "first_byte_ms": {first}, '
        f'"total_ms": {total_ns / _MILLI:.3f}, "end": {_quoted(trace.end.value)}, '
        f'"reason": {_quoted(trace.reason)}}}'
    )


@lru_cache(maxsize=2048)
def _quoted(text: str) -> str:
    return json.dumps(text)


def wall(at_ns: int) -> str:
    """A wall-clock time as RFC 3339 in UTC, to the microsecond."""
    seconds, rest = divmod(at_ns, SECOND_NS)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def sample_share(environment: Mapping[str, str]) -> float:
    """The share of the requests without an error that are written: all, unless the variable says less."""
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return 1.0
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise ConfigError(
            "access-sample",
            "Share of the access log is not from 0 to 1",
            f"{VARIABLE} is {text!r}; 1 writes every request, 0.01 one in 100, 0 errors and losses only.",
            address=VARIABLE,
        )
    return share

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
from typing import Final

from tickover.errors import ConfigError
from tickover.host.model import Lease

VARIABLE: Final = "TICKOVER_ACCESS_SAMPLE"
_PATH_LENGTH: Final = 512
_HOST_LENGTH: Final = 253
_MILLI: Final = 1_000_000


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


Ended = Callable[[Trace], None]


def unheard(trace: Trace) -> None:
    """Nobody wants to know."""


def is_kept(trace: Trace, share: float) -> bool:
    """Whether it is written: errors and losses are, of the rest a share, chosen by the request's id."""
    if trace.end is not End.COMPLETE or trace.status >= 400:
        return True
    return int(trace.request_id[:8], 16) < share * 0x1_0000_0000


def line(trace: Trace) -> str:
    """The request as one JSON object, without the line's end."""
    began_wall_ns = trace.ended_wall_ns - (trace.ended_ns - trace.began_ns)
    first = trace.first_byte_ns
    return json.dumps(
        {
            "time": wall(began_wall_ns),
            "request_id": trace.request_id,
            "host": trace.host[:_HOST_LENGTH],
            "method": trace.method,
            "path": trace.path[:_PATH_LENGTH],
            "function": trace.function_name,
            "qualifier": trace.qualifier,
            "version": trace.version_id,
            "instance": trace.instance_id,
            "status": trace.status,
            "error_type": trace.error_type,
            "bytes_in": trace.bytes_in,
            "bytes_out": trace.bytes_out,
            "waited_ms": round(trace.waited_ns / _MILLI, 3),
            "woke": trace.woke,
            "prefix": trace.prefix,
            "first_byte_ms": round((first - trace.began_ns) / _MILLI, 3) if first else None,
            "total_ms": round((trace.ended_ns - trace.began_ns) / _MILLI, 3),
            "end": trace.end.value,
            "reason": trace.reason,
        }
    )


def wall(at_ns: int) -> str:
    """A wall-clock time as RFC 3339 in UTC, to the microsecond."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


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

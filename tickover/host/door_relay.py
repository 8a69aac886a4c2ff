"""One granted request on its way through an instance and back.

Owns: the bytes between one caller and one instance, both ways. Promises: nothing is buffered beyond the
sockets' own marks, a caller sees a broken answer as broken, and the owner hears of the end exactly once.
Never: picks an instance, retries, releases the lease.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Protocol

from tickover.host.access import End, Trace
from tickover.host.cors import without_cors
from tickover.host.door_body import HeldBody
from tickover.host.door_upstream import UpstreamConnection, UpstreamPool
from tickover.host.http import (
    Head,
    Headers,
    HttpError,
    header_lines,
    relayed_head,
    trailer_lines,
    upstream_head,
)
from tickover.host.logtail import LogMark
from tickover.host.model import NO_INSTANCE, Lease

_REQUEST_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_BODY_STATUS = frozenset({204, 304})
_CLOSE_BYTES = 127  # the longest close frame of a server


class Caller(Protocol):
    """The caller's connection, as an exchange sees it."""

    def write(self, data: bytes) -> None: ...
    def write_eof(self) -> None: ...
    def set_reading(self, reading: bool) -> None: ...
    def enter_tunnel(self) -> None: ...
    def abort(self) -> None: ...


class Owner(Protocol):
    """Who started the relay."""

    def relay_ended(self, *, keep_alive: bool, reusable: bool) -> None:
        """The answer is complete."""
        ...

    def relay_broke(self, error: HttpError, *, answered: bool) -> None:
        """The instance went away; answered: the caller has seen part of an answer."""
        ...


class Watcher(Protocol):
    """Who looks at an answer before the caller sees it."""

    def on_head(self, status: int, headers: Headers) -> Headers:
        """Headers to add."""
        ...

    def on_body(self, data: bytes) -> None: ...


class Relay:
    """Forwards one request and relays its answer; the listener of one upstream connection."""

    def __init__(
        self,
        owner: Owner,
        caller: Caller,
        head: Head,
        lease: Lease,
        upstream: UpstreamConnection,
        request_id: str,
    ) -> None:
        self._owner = owner
        self._caller = caller
        self._head = head
        self._lease = lease
        self._upstream = upstream
        self._request_id = request_id
        self._out: list[bytes] = []
        self._held: HeldBody | None = None  # while not all of what is held is sent
        self._sent = 0  # bytes of it
        self._trailers: Headers | None = None  # the caller's body is complete, and what followed it
        self._is_chunked = False  # towards the instance
        self._body_sent = False  # the caller's body is through
        self._rechunk = False
        self._answered = False
        self._raw = False
        self._raw_ends = 0
        self._last = b""  # of what the instance said in a tunnel
        self._done = False
        self._keep_alive = True
        self.is_event = False
        self.watcher: Watcher | None = None
        self.cors: Headers = ()  # what a browser is told, in the place of what the instance says
        self.trace: Trace | None = None
        self.log_mark: LogMark | None = None  # of a caller who wants the log of the call

    # -- towards the instance --------------------------------------------------------------------------

    def start(
        self, target: str, extra: bytes, held: HeldBody, *, trailers: Headers | None, whole: bool
    ) -> None:
        """Send the head and what is held of the body. trailers: None until the body is complete. whole: the
        held body is all there is, sent with its length."""
        head, upstream = self._head, self._upstream
        upstream.attach(self, head.method)
        self._is_chunked = head.is_chunked and not whole
        self._trailers = trailers
        first = upstream_head(head, target, extra, fixed_length=held.size if whole else None)
        if not held.size and trailers is not None and not self._is_chunked:
            self._body_sent = True
            upstream.write(first)
            return
        piece = held.read(0)
        self._sent = len(piece)
        parts = [first, _chunk(piece) if self._is_chunked and piece else piece]
        if self._sent < held.size:
            self._held = held
        elif trailers is not None:
            parts.append(self._last_chunk(trailers))
        upstream.write(b"".join(parts))
        self._send_held()

    @property
    def is_behind(self) -> bool:
        """Pieces have to be held, and will be taken from there: former ones are not sent yet."""
        return self._held is not None

    def send_body(self, data: bytes) -> None:
        self._upstream.write(_chunk(data) if self._is_chunked else data)

    def end_body(self, trailers: Headers) -> None:
        self._trailers = trailers
        if self._held is None and (last := self._last_chunk(trailers)):
            self._upstream.write(last)

    def _last_chunk(self, trailers: Headers) -> bytes:
        self._body_sent = True
        return b"0\r\n" + trailer_lines(trailers) + b"\r\n" if self._is_chunked else b""

    def _send_held(self) -> None:
        """Send on as far as the instance takes it, so that a large body is never in memory whole."""
        held = self._held
        if held is None:
            return
        while self._sent < held.size and self._upstream.is_writable:
            piece = held.read(self._sent)
            self._sent += len(piece)
            self.send_body(piece)
        if self._sent < held.size:
            return
        self._held = None
        if self._trailers is not None:
            self.end_body(self._trailers)
        else:
            self._caller.set_reading(True)

    def send_raw(self, data: bytes) -> None:
        self._upstream.write(data)

    def caller_eof(self) -> None:
        """The caller has half-closed a tunnel."""
        self._upstream.write_eof()
        self._one_raw_end()

    def set_caller_writable(self, writable: bool) -> None:
        self._upstream.set_reading(writable)

    def cancel(self) -> None:
        """The caller is gone or the time is up: the instance is told by closing."""
        self._done = True
        self._upstream.close()

    def give_back(self, pool: UpstreamPool) -> None:
        """Keep the connection for the next request."""
        pool.keep(self._upstream)

    @property
    def answered(self) -> bool:
        return self._answered

    # -- from the instance -----------------------------------------------------------------------------

    def on_head(self, status: int, reason: bytes, headers: Headers, *, has_length: int | None) -> None:
        if self._done:
            return
        self._answered = True
        extra = self._answer_lines(headers)
        if self.watcher is not None:
            extra += header_lines(self.watcher.on_head(status, headers))
        if self.cors:
            headers = without_cors(headers)
            extra += header_lines(self.cors)
        if self.is_event and status >= 400:
            extra += b"x-fc-error-type: UnhandledInvocationError\r\n"
            status, reason = 200, b""
            if self.trace is not None:
                self.trace.error_type = "UnhandledInvocationError"
        if self.trace is not None:
            self.trace.status = status
        if self.log_mark is not None:
            extra += b"X-Fc-Log-Result: " + self.log_mark.since() + b"\r\n"
        self._out.append(relayed_head(status, reason, headers, extra + self._framing(status, has_length)))

    def _answer_lines(self, headers: Headers) -> bytes:
        if self._lease.instance_id != NO_INSTANCE:
            return answer_lines(self._request_id, self._lease)
        told = tuple(pair for pair in headers if pair[0].lower().startswith((b"x-fc-", b"x-tickover-")))
        theirs = next((value for key, value in told if key.lower() == b"x-fc-request-id"), b"")
        if self.trace is not None and _REQUEST_ID.fullmatch(theirs):  # one id in the logs of both hosts
            self.trace.request_id = theirs.decode("latin-1")
        return header_lines(told)

    def _framing(self, status: int, length: int | None) -> bytes:
        if status == 101:
            return b"connection: Upgrade\r\n"
        no_body = status in _NO_BODY_STATUS
        self._keep_alive = self._body_sent and self._head.keeps_alive
        framing = b"connection: keep-alive\r\n" if self._keep_alive else b"connection: close\r\n"
        if length is not None and not no_body:
            return b"content-length: %d\r\n" % length + framing
        if not no_body and self._head.method != "HEAD" and self._head.version != "1.0":
            self._rechunk = True
            return b"transfer-encoding: chunked\r\n" + framing
        return framing

    def on_body(self, data: bytes) -> None:
        if not self._done:
            if self.watcher is not None:
                self.watcher.on_body(data)
            self._out.append(_chunk(data) if self._rechunk else data)

    def on_flush(self) -> None:
        if self._out and not self._done:
            self._write(b"".join(self._out))
            self._out.clear()

    def _write(self, data: bytes) -> None:
        if self.trace is not None:
            self.trace.sent(len(data), time.monotonic_ns())
        self._caller.write(data)

    def on_end(self, *, reusable: bool, trailers: Headers) -> None:
        if self._done:
            return
        if self._rechunk:
            self._out.append(b"0\r\n%b\r\n" % trailer_lines(trailers))
        self.on_flush()
        self._done = True
        clean = reusable and self._body_sent
        if not clean:
            self._upstream.close()
        self._owner.relay_ended(keep_alive=self._keep_alive and self._body_sent, reusable=clean)

    def on_broken(self, why: str) -> None:
        if self._done:
            return
        self._done = True
        if self._raw:
            self._note_raw_end("the instance broke the WebSocket off (1006)")
            self._caller.write_eof()
            self._owner.relay_ended(keep_alive=False, reusable=False)
            return
        self._owner.relay_broke(HttpError(502, "BadResponse", why), answered=self._answered)

    def on_writable(self, writable: bool) -> None:
        if self._held is not None:
            if writable:
                self._send_held()
        elif writable or self._raw or not self._body_sent:  # a caller that only waits is watched
            self._caller.set_reading(writable)

    # -- after a switch of protocols -------------------------------------------------------------------

    def on_switched(self, rest: bytes) -> None:
        self._raw = True
        self.on_flush()
        self._caller.enter_tunnel()
        if rest:
            self.on_raw(rest)

    def on_raw(self, data: bytes) -> None:
        if not self._done:
            self._last = (data if len(data) >= _CLOSE_BYTES else self._last + data)[-_CLOSE_BYTES:]
            self._write(data)

    def on_raw_eof(self) -> None:
        if not self._done:
            self._note_raw_end("the instance ended the WebSocket without a close frame (1006)")
            self._caller.write_eof()
            self._one_raw_end()

    def _note_raw_end(self, why: str) -> None:
        """The instance has ended a tunnel. It may, if it has said so or if the caller has ended it before."""
        if self.trace is not None and not self._raw_ends and not ends_with_close(self._last):
            self.trace.end, self.trace.reason = End.BROKEN, why

    def _one_raw_end(self) -> None:
        self._raw_ends += 1
        if self._raw_ends == 2 and not self._done:
            self._done = True
            self._upstream.close()
            self._owner.relay_ended(keep_alive=False, reusable=False)


def answer_lines(request_id: str, lease: Lease) -> bytes:
    """What the caller is told about how the answer came about."""
    prefix = f"X-Tickover-Prefix: {lease.prefix}\r\n" if lease.prefix else ""
    return (
        f"X-Fc-Request-Id: {request_id}\r\n"
        f"X-Fc-Instance-Id: {lease.instance_id}\r\n"
        f"X-Tickover-Waited-Ms: {lease.waited_ns // 1_000_000}\r\n"
        f"X-Tickover-Woke: {'true' if lease.woke else 'false'}\r\n{prefix}"
    ).encode()


def request_lines(request_id: str, lease: Lease, region: str, account_id: str, *, event: bool) -> bytes:
    """What the instance is told about the request."""
    identity = _identity(lease.function_name, lease.version_id, lease.qualifier, region, account_id, event)
    return b"x-fc-request-id: " + request_id.encode() + identity


@lru_cache(maxsize=1024)
def _identity(
    function_name: str, version_id: str, qualifier: str, region: str, account_id: str, event: bool
) -> bytes:
    return (
        "\r\n"
        f"x-fc-function-name: {function_name}\r\n"
        f"x-fc-version-id: {version_id}\r\n"
        f"x-fc-qualifier: {qualifier}\r\n"
        f"x-fc-region: {region}\r\n"
        f"x-fc-account-id: {account_id}\r\n"
        f"x-fc-control-path: {'/invoke' if event else '/http-invoke'}\r\n"
    ).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def ends_with_close(data: bytes) -> bool:
    """Whether the last thing in what a server sent is a WebSocket's close frame."""
    for size in range(2, min(len(data), _CLOSE_BYTES) + 1):
        if data[-size] == 0x88 and data[-size + 1] == size - 2:
            code = int.from_bytes(data[-size + 2 :][:2], "big")
            if size == 2 or (size > 3 and 1000 <= code < 5000):
                return True
    return False

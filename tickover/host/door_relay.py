"""One granted request on its way through an instance and back.

Owns: the bytes between one caller and one instance, both ways. Promises: nothing is buffered beyond the
sockets' own marks, a caller sees a broken answer as broken, and the owner hears of the end exactly once.
Never: picks an instance, retries, releases the lease.
"""

from __future__ import annotations

from typing import Protocol

from tickover.host.door_upstream import UpstreamConnection, UpstreamPool
from tickover.host.http import Head, Headers, HttpError, relayed_head, upstream_head
from tickover.host.logtail import LogMark
from tickover.host.model import Lease

_NO_BODY_STATUS = frozenset({204, 304})


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
        self._body_sent = False  # the caller's body is through
        self._rechunk = False
        self._answered = False
        self._raw = False
        self._raw_ends = 0
        self._done = False
        self._keep_alive = True
        self.is_event = False
        self.watcher: Watcher | None = None
        self.log_mark: LogMark | None = None  # of a caller who wants the log of the call

    # -- towards the instance --------------------------------------------------------------------------

    def start(self, target: str, extra: Headers, held: list[bytes], *, complete: bool, whole: bool) -> None:
        """Send the head and what is held of the body. whole: the held body is all there is, sent at once."""
        size = sum(map(len, held)) if whole else None
        self._upstream.attach(self, self._head.method)
        first = upstream_head(self._head, target, extra, fixed_length=size)
        if self._head.is_chunked and not whole:
            parts = [first, *(_chunk(part) for part in held)]
            if complete:
                parts.append(b"0\r\n\r\n")
        else:
            parts = [first, *held]
        self._body_sent = complete
        self._upstream.write(b"".join(parts))
        if not complete and not held and (self._head.header(b"expect") or b"").lower() == b"100-continue":
            self._caller.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_body(self, data: bytes) -> None:
        self._upstream.write(_chunk(data) if self._head.is_chunked else data)

    def end_body(self) -> None:
        self._body_sent = True
        if self._head.is_chunked:
            self._upstream.write(b"0\r\n\r\n")

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
        extra: list[tuple[bytes, bytes]] = list(answer_headers(self._request_id, self._lease))
        if self.watcher is not None:
            extra.extend(self.watcher.on_head(status, headers))
        if self.is_event and status >= 400:
            extra.append((b"x-fc-error-type", b"UnhandledInvocationError"))
            status, reason = 200, b""
        if self.log_mark is not None:
            extra.append((b"X-Fc-Log-Result", self.log_mark.since()))
        framing = self._framing(status, has_length)
        self._out.append(relayed_head(status, reason, headers, tuple(extra), framing))

    def _framing(self, status: int, length: int | None) -> Headers:
        if status == 101:
            return ((b"connection", b"Upgrade"),)
        old = self._head.version == "1.0"
        wants_close = b"close" in (self._head.header(b"connection") or b"").lower()
        no_body = status in _NO_BODY_STATUS
        self._keep_alive = not wants_close and not old and self._body_sent
        framing: list[tuple[bytes, bytes]] = []
        if length is not None and not no_body:
            framing.append((b"content-length", b"%d" % length))
        elif not no_body and self._head.method != "HEAD":
            self._rechunk = not old
            if self._rechunk:
                framing.append((b"transfer-encoding", b"chunked"))
        framing.append((b"connection", b"keep-alive" if self._keep_alive else b"close"))
        return tuple(framing)

    def on_body(self, data: bytes) -> None:
        if not self._done:
            if self.watcher is not None:
                self.watcher.on_body(data)
            self._out.append(_chunk(data) if self._rechunk else data)

    def on_flush(self) -> None:
        if self._out and not self._done:
            self._caller.write(b"".join(self._out))
            self._out.clear()

    def on_end(self, *, reusable: bool) -> None:
        if self._done:
            return
        if self._rechunk:
            self._out.append(b"0\r\n\r\n")
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
            self._caller.write_eof()
            self._owner.relay_ended(keep_alive=False, reusable=False)
            return
        self._owner.relay_broke(HttpError(502, "BadResponse", why), answered=self._answered)

    def on_writable(self, writable: bool) -> None:
        self._caller.set_reading(writable)

    # -- after a switch of protocols -------------------------------------------------------------------

    def on_switched(self, rest: bytes) -> None:
        self._raw = True
        self.on_flush()
        self._caller.enter_tunnel()
        if rest:
            self._caller.write(rest)

    def on_raw(self, data: bytes) -> None:
        if not self._done:
            self._caller.write(data)

    def on_raw_eof(self) -> None:
        if not self._done:
            self._caller.write_eof()
            self._one_raw_end()

    def _one_raw_end(self) -> None:
        self._raw_ends += 1
        if self._raw_ends == 2 and not self._done:
            self._done = True
            self._upstream.close()
            self._owner.relay_ended(keep_alive=False, reusable=False)


def answer_headers(request_id: str, lease: Lease) -> Headers:
    """What the caller is told about how the answer came about."""
    return (
        (b"X-Fc-Request-Id", request_id.encode()),
        (b"X-Fc-Instance-Id", lease.instance_id.encode()),
        (b"X-Tickover-Waited-Ms", b"%d" % (lease.waited_ns // 1_000_000)),
        (b"X-Tickover-Woke", b"true" if lease.woke else b"false"),
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)

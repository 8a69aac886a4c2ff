"""A caller's connection: its bytes, parsed into exchanges.

Owns: one socket to a caller, and the order of what was asked on it. Promises: heads are bounded and read one
way only, requests are answered in order, a slow caller slows its instance and nobody else, one that breaks
the rules is told in turn and heard no further. Never: buffers an answer, picks an instance.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import Final, cast

import httptools

from tickover.host.door_exchange import Exchange
from tickover.host.door_home import Home
from tickover.host.door_write import NO_DESCRIPTOR, descriptor_of, write_now
from tickover.host.http import (
    MAX_HEAD_BYTES,
    MAX_HEADER_BYTES,
    Head,
    HttpError,
    check_head,
    origin_form,
)

BODY_SLACK_SECONDS = 60.0  # so far may a body fall behind
BODY_LEAST_RATE = 500.0  # bytes a second
LINGER_SECONDS = 1.0  # after a refusal in the middle of a body: let the caller read it
WRITE_HIGH_BYTES = 256 * 1024
PIPELINE_DEPTH = 8
SLICE_BYTES = 8 * 1024  # so much is looked at before it is seen how many requests are in it
_H2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_NO_HEAD = Head("GET", "/", ())
_SLOW_BODY = HttpError(408, "InvalidArgument", "the request body arrives too slowly")
_LARGE_HEAD = HttpError(431, "InvalidArgument", "the request head is too large")
_NO_BODY_IN_SIGHT = HttpError(400, "InvalidArgument", "the request body has too much around its chunks")


def slack_after(slack: float, seconds: float, received: int) -> float:
    """How far behind a body may still fall, after some seconds in which so many bytes of it came."""
    return min(BODY_SLACK_SECONDS, slack - seconds + received / BODY_LEAST_RATE)


class ClientConnection(asyncio.Protocol):
    """One caller's connection."""

    def __init__(self, door: Home, *, is_tls: bool = False) -> None:
        self._door = door
        self.is_tls = is_tls
        self._transport: asyncio.Transport | None = None
        self._descriptor = NO_DESCRIPTOR
        self._h2: asyncio.Protocol | None = None  # who has taken the connection over
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._receiving: Exchange | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._since = 0  # bytes since a head began, or since the last piece of a body
        self._in_head = True
        self._is_resuming = False
        self._is_tunnel = False
        self._is_deaf = False  # what else comes is not read as requests
        self._is_reading = True
        self._is_advancing = False
        self._is_first = True  # no head has been read
        self._is_between = True  # no byte of a request has been read that is not over
        self._early = b""
        self._slack = BODY_SLACK_SECONDS
        self._body_bytes = 0  # since the last sweep
        self.quiet_since: float | None = None  # loop time since when no request is open

    # -- asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._descriptor = descriptor_of(transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.quiet_since = self._door.now()
        self._door.joined(self)
        if self.is_tls and transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            self._leave_to_h2(b"")

    def data_received(self, data: bytes) -> None:
        self._since += len(data)
        is_plain = not (self._is_deaf or self._is_tunnel or self._early)
        if is_plain and self._since <= SLICE_BYTES and len(self._queue) <= PIPELINE_DEPTH:
            self._take(data)
        else:
            self._since -= len(data)
            self._take_slices(data)

    def _take_slices(self, data: bytes) -> None:
        """A lot at once: no more of it than may be there without an end of a head, a piece of a body."""
        at = 0
        while at < len(data):
            if self._is_deaf:
                if self._h2 is not None:
                    self._h2.data_received(data[at:])
                return
            if self._is_tunnel:
                self._queue[0].raw(data[at:])
                return
            if self._early or len(self._queue) > PIPELINE_DEPTH or self._is_handshaking:
                self._keep_early(data[at:])
                return
            room = MAX_HEAD_BYTES - self._since
            if room <= 0:
                self._refuse(_LARGE_HEAD if self._in_head else _NO_BODY_IN_SIGHT)
                return
            part = data[at : at + (room if self._receiving is not None else min(room, SLICE_BYTES))]
            at += len(part)
            self._since += len(part)
            self._take(part)

    @property
    def _is_handshaking(self) -> bool:
        return self._receiving is not None and self._receiving.head.is_websocket

    def _keep_early(self, data: bytes) -> None:
        """Frames sent before the answer to the handshake, or requests far behind others."""
        self._early += data
        if len(self._early) > MAX_HEAD_BYTES:
            self.set_reading(False)  # below that it is read on, to see the caller go

    def _take(self, data: bytes) -> None:
        """Parse, and start what came first only then: what there is of its body goes with its head."""
        self._parse(data)
        self._advance()

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as switch:
                data = data[switch.args[0] :]
                if self._is_handshaking:
                    if data:
                        self._keep_early(data)
                    return
                self._resume()  # an upgrade nobody offers is left aside
            except httptools.HttpParserError as err:
                if self._is_h2(data):
                    self._leave_to_h2(_H2_PREFACE[: self._since - len(data)] + data)
                    return
                self._refuse(HttpError(400, "InvalidArgument", f"the request is not HTTP/1.1: {err}"))
                return

    def _resume(self) -> None:
        """Go on after a head with an upgrade: the parser takes what follows for another protocol."""
        self._parser = httptools.HttpRequestParser(self)
        if self._receiving is not None:
            head = self._receiving.head
            framing = (
                b"transfer-encoding: chunked"
                if head.is_chunked
                else b"content-length: %d" % (head.content_length or 0)
            )
            self._is_resuming = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
            self._is_resuming = False

    def _is_h2(self, data: bytes) -> bool:
        """Whether what the parser does not read as HTTP/1.1 is the preface of HTTP/2: as the first there is.

        Looked for only where a request is refused, so that callers of HTTP/1.1 do not pay for it. The parser
        has found in former pieces what the preface says up to there.
        """
        before = self._since - len(data)
        is_first = self._is_first and self._in_head and before < len(_H2_PREFACE)
        if not is_first or self._url != b"*" or self._parser.get_method() != b"PRI":
            return False
        return (_H2_PREFACE[:before] + data).startswith(_H2_PREFACE)

    def _leave_to_h2(self, data: bytes) -> None:
        """Let go of the connection: HTTP/2 is spoken on it. data: what has been read of it."""
        transport, self._transport = self._transport, None
        self._is_deaf = True
        self.quiet_since = None
        self._door.left(self)
        if transport is not None:
            self._h2 = self._door.take_h2(transport, data, is_tls=self.is_tls)

    def eof_received(self) -> bool:
        if self._is_tunnel and self._queue:
            self._queue[0].raw_eof()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._is_deaf = True
        self._door.left(self)
        while self._queue:
            self._queue.popleft().caller_gone()

    def pause_writing(self) -> None:
        if self._queue:
            self._queue[0].set_caller_writable(False)

    def resume_writing(self) -> None:
        if self._queue:
            self._queue[0].set_caller_writable(True)

    # -- httptools -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_resuming:
            return
        self._url = b""
        self._headers = []
        self._in_head = True
        self._is_between = False
        self._receiving = None
        if not self._queue:
            self.quiet_since = self._door.now()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self._headers.append((name.lower(), value or b""))

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        headers, self._headers = tuple(self._headers), []  # trailers may follow
        if self._is_resuming:
            return
        self._in_head = self._is_first = False
        self._since = 0
        head = Head(
            self._parser.get_method().decode("latin-1"),
            origin_form(self._url.decode("latin-1")),
            headers,
            self._parser.get_http_version(),
            self.is_tls,
        )
        exchange = Exchange(self._door.context, self, head, check_head(head))
        self._receiving = exchange
        self._slack = BODY_SLACK_SECONDS
        self._body_bytes = 0
        self._enqueue(exchange)  # it starts when all that came with its head is parsed

    def on_body(self, body: bytes) -> None:
        self._since = 0
        if self._receiving is not None and not self._is_deaf:
            self._body_bytes += len(body)
            self._receiving.body(body)

    def on_message_complete(self) -> None:
        receiving = self._receiving
        if receiving is None or self._is_deaf:
            return
        head = receiving.head
        if head.has_body and self._parser.should_upgrade():
            return  # only the parser thinks so
        self._is_between = True
        self._in_head = True
        self._since = 0
        if head.is_websocket:
            receiving.body_end(())
            return
        self._receiving = None
        if not head.keeps_alive:
            self._is_deaf = True  # whatever follows is nothing that was asked for
        if sum(len(value) for _, value in self._headers) > MAX_HEADER_BYTES:
            receiving.refuse(HttpError(400, "InvalidArgument", "the request has too many trailers"))
        elif head.has_body:
            receiving.body_end(tuple(self._headers))

    # -- for the exchange at the front -----------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            write_now(self._transport, self._descriptor, data)

    def write_eof(self) -> None:
        if self._transport is None:
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()  # TLS has no half-closed connections

    def set_reading(self, reading: bool) -> None:
        transport = self._transport
        if reading is self._is_reading or transport is None or transport.is_closing():
            return
        self._is_reading = reading
        if reading:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def enter_tunnel(self) -> None:
        self._is_tunnel = True
        self._receiving = None
        self.set_reading(True)
        if self._early:
            early, self._early = self._early, b""
            self._queue[0].raw(early)

    def abort(self) -> None:
        """Cut the connection, so that a broken answer is seen as broken."""
        self._is_deaf = True
        if self._transport is not None:
            self._transport.abort()

    def exchange_done(self, *, keep_alive: bool) -> None:
        done = self._queue.popleft() if self._queue else None
        if not keep_alive or self._door.is_closing:
            was_deaf, self._is_deaf = self._is_deaf, True
            self._finish(linger=was_deaf or (done is not None and not done.is_complete))
            return
        if done is not None and done is self._receiving:  # a handshake that was answered without a switch
            self._receiving = None
            self._parser = httptools.HttpRequestParser(self)
        if self._queue:
            self._advance()
        else:
            self.quiet_since = self._door.now()
        if not self._is_tunnel and not self._is_deaf and len(self._queue) < PIPELINE_DEPTH:
            self._go_on()
        if not self._queue:
            self._door.rested(self)

    def _go_on(self) -> None:
        """Read on, after what was put aside."""
        if self._early:
            early, self._early = self._early, b""
            self._take_slices(early)
        if not self._early:
            self.set_reading(True)

    def sweep(self, quiet_before: float, seconds: float) -> None:
        """Close a caller that is idle or slow with a head; refuse one that is slow with a body."""
        if self.quiet_since is not None:
            self.close_if_quiet(quiet_before)
        receiving = self._receiving
        if receiving is not None and receiving.owes_body and self._is_reading and not self._is_handshaking:
            self._slack = slack_after(self._slack, seconds, self._body_bytes)
            self._body_bytes = 0
            if self._slack < 0:
                self._refuse(_SLOW_BODY)

    def close_if_quiet(self, before: float) -> None:
        """Close when no request has been open since the given loop time."""
        if self.quiet_since is not None and self.quiet_since <= before and self._transport is not None:
            self._transport.close()

    def retire(self) -> None:
        """Close now if no request is open and another process cannot go on with the connection."""
        if self.is_tls:
            self.close_if_quiet(self._door.now())

    def detach(self) -> int | None:
        """A descriptor of the connection, which is no longer read here; None while a request is open on it,
        and for TLS, whose keys are in this process.

        What the caller has sent and nobody has read yet stays in it.
        """
        transport = self._transport
        is_busy = self._queue or not self._is_between or self._early or self._is_deaf
        if self.is_tls or is_busy or transport is None:
            return None
        sock = transport.get_extra_info("socket")
        if transport.is_closing() or transport.get_write_buffer_size() or sock is None:
            return None
        self.set_reading(False)
        descriptor = os.dup(sock.fileno())
        self.abort()
        return descriptor

    # -- inside ----------------------------------------------------------------------------------------

    def _enqueue(self, exchange: Exchange) -> None:
        self._queue.append(exchange)
        self.quiet_since = None

    def _advance(self) -> None:
        """Start the first in the queue; many that end at once must not nest."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while self._queue and not self._queue[0].is_started:
            self._queue[0].start()
        self._is_advancing = False

    def _refuse(self, error: HttpError) -> None:
        """Bytes that are no request: say so in turn, and read no more of them."""
        if self._is_deaf:
            return
        self._is_deaf = True
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.refuse(error)
        else:
            self._enqueue(Exchange(self._door.context, self, _NO_HEAD, error))
            self._advance()

    def _finish(self, *, linger: bool) -> None:
        while self._queue:
            self._queue.popleft().caller_gone()  # none of them has been started
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if linger:
            self.set_reading(True)
            if transport.can_write_eof():
                transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.close)
        else:
            transport.close()

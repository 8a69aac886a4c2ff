"""One stream of HTTP/2: a request, its exchange, and the answer on its way to the caller.

Owns: what of one request's body has not been taken yet, and what of its answer could not be sent yet.
Promises: both are bounded, by the window and by holding the instance's side; every piece of an answer goes
out as soon as the caller's windows have room for it. Never: writes to the socket, decides where a request
goes.
"""

from __future__ import annotations

from typing import Final, Protocol

import httptools
import structlog
from h2.errors import ErrorCodes
from hpack import HeaderTuple

from tickover.host.door_connection import BODY_SLACK_SECONDS, slack_after
from tickover.host.door_context import DoorContext
from tickover.host.door_exchange import Exchange
from tickover.host.h2_heads import answer_fields, trailer_fields
from tickover.host.http import MAX_HEADER_BYTES, Head, Headers, HttpError

log = structlog.get_logger(__name__)

OUT_HIGH_BYTES: Final = 128 * 1024  # so much unsent: the instance's side is held
OUT_LOW_BYTES: Final = 32 * 1024
_SLOW_BODY: Final = HttpError(408, "InvalidArgument", "the request body arrives too slowly")
_WRONG_LENGTH: Final = HttpError(
    400, "InvalidArgument", "the request body is not as long as its content-length"
)
_MANY_TRAILERS: Final = HttpError(400, "InvalidArgument", "the request has too many trailers")


class Carrier(Protocol):
    """The connection that a stream is on."""

    def send_head(self, stream: Stream, fields: list[HeaderTuple], *, ends: bool) -> None: ...
    def push(self, stream: Stream) -> None:
        """Send what the stream has to send, as far as windows allow."""
        ...

    def credit(self, stream: Stream, count: int) -> None:
        """So much of the body was taken: the caller may send more."""
        ...

    def over(self, stream: Stream, code: ErrorCodes) -> None:
        """Forget the stream; unless both sides are complete, it is reset."""
        ...


class Stream:
    """A request of HTTP/2; the caller's connection, for its exchange."""

    def __init__(
        self, context: DoorContext, carrier: Carrier, number: int, head: Head, error: HttpError | None
    ) -> None:
        self.number = number
        self.out = bytearray()  # of the answer's body, not sent
        self.trailers: list[HeaderTuple] = []  # sent after it
        self.is_complete = False  # nothing will be added to out
        self.has_sent_end = False
        self.has_all = False  # the caller has sent all of its request
        self.sent_bytes = 0
        self._carrier = carrier
        self._exchange = Exchange(context, self, head, error)
        self._inbox = bytearray()
        self._body_end: Headers | None = None  # what followed the body, once there is no more of it
        self._received = 0
        self._since_sweep = 0
        self._sent_before = 0  # the last sweep
        self._slack = BODY_SLACK_SECONDS
        self._stalled_seconds = 0.0
        self._is_reading = True
        self._is_delivering = False
        self._is_holding = False
        self._is_answered = False
        self._is_dead = False
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: list[HeaderTuple] | None = None  # waits for what comes with it
        self._in_body = False

    # -- from the caller -------------------------------------------------------------------------------

    def add(self, data: bytes) -> None:
        """A piece of the body."""
        self._inbox += data
        self._since_sweep += len(data)

    def end(self, trailers: Headers) -> None:
        self.has_all = True
        self._body_end = trailers

    def deliver(self) -> None:
        """Give the exchange what has arrived, as far as it reads; start it if it has not been."""
        if self._is_dead:
            return
        if not self._is_delivering:
            self._is_delivering = True
            while self._inbox and self._is_reading and not self._is_dead:
                data = bytes(self._inbox)
                self._inbox.clear()
                self._received += len(data)
                self._exchange.body(data)
                self._carrier.credit(self, len(data))
            self._is_delivering = False
            if not self._inbox and self._body_end is not None and not self._is_dead:
                trailers, self._body_end = self._body_end, None
                self._end_body(trailers)
        if not self._exchange.is_started and not self._is_dead:
            self._exchange.start()

    def _end_body(self, trailers: Headers) -> None:
        head = self._exchange.head
        if head.content_length is not None and head.content_length != self._received:
            self._exchange.refuse(_WRONG_LENGTH)
        elif sum(len(value) for _, value in trailers) > MAX_HEADER_BYTES:
            self._exchange.refuse(_MANY_TRAILERS)
        elif head.has_body:
            self._exchange.body_end(trailers)

    def refuse(self, error: HttpError) -> None:
        """What the caller sends goes on as no request can."""
        self._exchange.refuse(error)

    def gone(self) -> None:
        """The caller wants no answer any more."""
        self._is_dead = True
        self.out.clear()
        self._inbox.clear()
        self._exchange.caller_gone()

    def sweep(self, seconds: float, patience_seconds: float) -> None:
        """Refuse a body that is slow; give up an answer, complete here, that nobody takes."""
        if not self.has_all and self._exchange.owes_body and self._is_reading:
            self._slack = slack_after(self._slack, seconds, self._since_sweep)
            if self._slack < 0:
                self._exchange.refuse(_SLOW_BODY)
                return
        self._since_sweep = 0
        is_stalled = self.is_complete and self.sent_bytes == self._sent_before
        self._stalled_seconds = self._stalled_seconds + seconds if is_stalled else 0.0
        self._sent_before = self.sent_bytes
        if self._stalled_seconds > patience_seconds:
            self._give_up(ErrorCodes.CANCEL)

    # -- for the exchange ------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._is_dead or self.is_complete:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as err:
            log.error("an answer could not be said in HTTP/2", error=str(err))
            self._give_up(ErrorCodes.INTERNAL_ERROR)
            return
        self._send_head()
        self._carrier.push(self)

    def write_eof(self) -> None:
        self.abort()  # of a tunnel, and there is none in HTTP/2

    def enter_tunnel(self) -> None:
        self.abort()

    def set_reading(self, reading: bool) -> None:
        self._is_reading = reading
        if reading and (self._inbox or self._body_end is not None):
            self.deliver()

    def abort(self) -> None:
        """Cut the stream, so that a broken answer is seen as broken."""
        if not self._is_dead:
            self._is_dead = True
            self._carrier.over(self, ErrorCodes.INTERNAL_ERROR)

    def exchange_done(self, *, keep_alive: bool) -> None:
        if self._is_dead:
            return
        self._is_answered = True
        if not self.is_complete:
            self.abort()
        elif self.has_sent_end:
            self.finished()

    # -- for the connection ----------------------------------------------------------------------------

    @property
    def is_unsent(self) -> bool:
        """There is more of the answer, or its end."""
        return bool(self.out) or (self.is_complete and not self.has_sent_end)

    def weigh(self) -> None:
        """Hold the instance's side when too much waits to be sent, and let it go on after that."""
        if self.is_complete or self._is_dead:
            return
        if len(self.out) > OUT_HIGH_BYTES and not self._is_holding:
            self._is_holding = True
            self._exchange.set_caller_writable(False)
        elif self._is_holding and len(self.out) <= OUT_LOW_BYTES:
            self._is_holding = False
            self._exchange.set_caller_writable(True)

    def finished(self) -> None:
        """The end of the answer has been sent."""
        self.has_sent_end = True
        if self._is_answered:
            self._is_dead = True
            self._carrier.over(self, ErrorCodes.NO_ERROR)

    # -- httptools -------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self._headers.append((name, value or b""))

    def on_headers_complete(self) -> None:
        status = int(self._parser.get_status_code())
        fields = answer_fields(status, self._headers)
        self._headers = []
        if 100 <= status < 200:
            self._carrier.send_head(self, fields, ends=False)
            return
        self._head = fields
        self._in_body = True
        if self._exchange.head.method == "HEAD":
            self.is_complete = True  # the parser waits for a body

    def on_body(self, body: bytes) -> None:
        self.out += body

    def on_message_complete(self) -> None:
        if self._in_body:
            self.is_complete = True
            self.trailers = trailer_fields(self._headers)

    # -- inside ----------------------------------------------------------------------------------------

    def _send_head(self) -> None:
        fields, self._head = self._head, None
        if fields is None:
            return
        ends = self.is_complete and not self.out and not self.trailers
        self._carrier.send_head(self, fields, ends=ends)
        if ends:
            self.finished()

    def _give_up(self, code: ErrorCodes) -> None:
        self.gone()
        self._carrier.over(self, code)

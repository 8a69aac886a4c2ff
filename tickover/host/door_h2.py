"""A caller's connection in HTTP/2: frames in, frames out, many requests at once.

Owns: one socket to a caller, the state of HTTP/2 on it, its streams and its windows. Promises: a slow stream
slows its own instance and no other stream; a stream that the caller resets is gone at once; a caller that
opens and resets, pings or fragments without end is cut; a connection that is retired finishes what is open.
Never: decides about a request, speaks WebSocket, pushes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import structlog
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from hpack import HeaderTuple

from tickover.host.door_h2_output import Output
from tickover.host.door_h2_stream import Stream
from tickover.host.door_home import Home
from tickover.host.h2_engine import STREAM_WINDOW_BYTES, STREAMS, WINDOW_BYTES, Engine
from tickover.host.h2_heads import VERSION, MalformedError, read_head, read_trailers
from tickover.host.h2_patience import FOR_AN_ANSWER, OF_A_LATE_FRAME, Patience
from tickover.host.http import MAX_HEAD_BYTES, Head, HttpError, check_head

log = structlog.get_logger(__name__)

LAST_CALL_SECONDS: Final = 1.0  # for a caller to hear that it is to go elsewhere
STALLED_SECONDS: Final = 60.0  # for a caller to take some of an answer that is complete here
LINGER_SECONDS: Final = 1.0  # after a GOAWAY with an error; for the rest of a body whose answer is complete
_SLICE_BYTES: Final = 32 * 1024
_LAST_STREAM: Final = 2**31 - 1
_GOODBYE: Final = b"tickover"
_NO_HEAD: Final = Head("GET", "/", (), VERSION)


class H2Connection(asyncio.Protocol):
    """One caller's connection, with its streams."""

    def __init__(self, door: Home, *, is_tls: bool) -> None:
        self._door = door
        self.is_tls = is_tls
        self._transport: asyncio.Transport | None = None
        self._engine = Engine()
        self._streams: dict[int, Stream] = {}
        self._ending: dict[int, asyncio.TimerHandle] = {}  # answered, but the request has not ended
        self._owed = 0  # bytes to give back to the connection's window
        self._owed_of: dict[int, int] = {}  # and to those of streams
        self._patience = Patience()
        self._out = Output(self._engine, self._patience, self._is_unread)
        self._mute_bytes = 0  # since the last frame that was whole
        self._touched: dict[int, Stream] = {}  # by what is being read
        self._is_dead = False
        self._dying_seconds = 0.0
        self._last_stream = _LAST_STREAM  # none after it is served
        self._last_call: asyncio.TimerHandle | None = None
        self.quiet_since: float | None = None  # loop time since when no stream is open

    # -- asyncio ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.quiet_since = self._door.now()
        self._door.joined(self)
        self._out.start(self._transport)

    def data_received(self, data: bytes) -> None:
        """Read it a slice at a time: what comes in one must not be held without a bound."""
        for at in range(0, len(data), _SLICE_BYTES):
            if self._is_dead:
                return
            self._take(data[at : at + _SLICE_BYTES])

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_dead = True
        self._transport = None
        self._out.stop()
        if self._last_call is not None:
            self._last_call.cancel()
        self._door.left(self)
        self._drop_streams()

    def pause_writing(self) -> None:
        self._out.set_writable(False)

    def resume_writing(self) -> None:
        self._out.set_writable(True)

    # -- frames in -------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        self._out.is_batching = True
        frames = -self._engine.frames
        try:
            events = self._engine.receive_data(data)
        except ProtocolError as err:
            log.info("a connection broke the rules of HTTP/2", error=type(err).__name__)
            self._end(None)
            return
        frames += self._engine.frames
        self._mute_bytes = 0 if frames else self._mute_bytes + len(data)
        self._patience.spend(OF_A_LATE_FRAME * max(0, frames - len(events)))
        for event in events:
            _HEARD.get(type(event), H2Connection._hear_other)(self, event)
        if self._patience.is_gone or self._mute_bytes > MAX_HEAD_BYTES:
            log.info("a connection of HTTP/2 only keeps the host busy", streams=len(self._streams))
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        while self._touched:
            self._touched.pop(next(iter(self._touched))).deliver()
        self._out.is_batching = False
        self._out.pump()
        self._close_if_done()

    def _hear_request(self, event: RequestReceived) -> None:
        number = event.stream_id
        is_full = len(self._streams) + len(self._ending) >= STREAMS
        if is_full or number > self._last_stream:
            self._patience.spend()
            self._engine.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        head, error = _NO_HEAD, None
        try:
            head = read_head(event.headers, is_tls=self.is_tls, is_whole=event.stream_ended is not None)
            error = check_head(head)
        except MalformedError as err:
            error = HttpError(400, "InvalidArgument", f"the request is malformed: {err}")
        stream = Stream(self._door.context, self, number, head, error)
        self._streams[number] = self._touched[number] = stream
        self.quiet_since = None

    def _hear_data(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        data, length = event.data, event.flow_controlled_length
        self._owed += length
        if self._owed >= WINDOW_BYTES // 2:
            self._engine.increment_flow_control_window(self._owed)
            self._owed = 0
        if stream is None:
            return
        if not data and event.stream_ended is None:
            self._patience.spend()
        stream.add(data)
        self._touched[event.stream_id] = stream
        if length > len(data):
            self.credit(stream, length - len(data))  # padding is taken at once

    def _hear_trailers(self, event: TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        try:
            stream.end(read_trailers(event.headers))
        except MalformedError as err:
            stream.end(())
            stream.refuse(HttpError(400, "InvalidArgument", f"the request is malformed: {err}"))

    def _hear_end(self, event: StreamEnded) -> None:
        self._end_late(event.stream_id)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._touched[event.stream_id] = stream
            if not stream.has_all:
                stream.end(())

    def _hear_reset(self, event: StreamReset) -> None:
        self._patience.spend()
        self._end_late(event.stream_id)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.gone()
            self._forget(stream)

    def _end_late(self, number: int) -> None:
        late = self._ending.pop(number, None)
        if late is not None:
            late.cancel()

    def _hear_ping_ack(self, event: PingAckReceived) -> None:
        if event.ping_data == _GOODBYE and self._last_call is not None:
            self._close_to_newcomers()
        else:
            self._patience.spend()

    def _hear_goaway(self, _: ConnectionTerminated) -> None:
        """It will not come with anything new."""
        self._last_stream = min(self._last_stream, self._engine.highest_inbound_stream_id)

    def _hear_other(self, _: Event) -> None:
        self._patience.spend()

    # -- for the streams -------------------------------------------------------------------------------

    def send_head(self, stream: Stream, fields: list[HeaderTuple], *, ends: bool) -> None:
        self._out.head(stream, fields, ends=ends)

    def push(self, stream: Stream) -> None:
        self._out.push(stream)

    def credit(self, stream: Stream, count: int) -> None:
        number = stream.number
        if self._is_dead or stream.has_all or number not in self._streams:
            return
        owed = self._owed_of.pop(number, 0) + count
        if owed < STREAM_WINDOW_BYTES // 2:
            self._owed_of[number] = owed
            return
        self._engine.increment_flow_control_window(owed, number)
        self._out.flush_soon()

    def over(self, stream: Stream, code: ErrorCodes) -> None:
        if self._is_dead or stream.number not in self._streams:
            return
        if not stream.has_sent_end:
            self._engine.reset_stream(stream.number, code)
        else:
            self._patience.earn(FOR_AN_ANSWER)
            if not stream.has_all:  # many callers do not expect a reset between a body and its end
                loop = asyncio.get_running_loop()
                late = loop.call_later(LINGER_SECONDS, self._reset_late, stream.number)
                self._ending[stream.number] = late
        self._forget(stream)
        self._out.flush_soon()

    def _reset_late(self, number: int) -> None:
        """A body goes on after its answer: nobody wants the rest."""
        self._ending.pop(number, None)
        if not self._is_dead:
            self._engine.reset_stream(number, ErrorCodes.NO_ERROR)
            self._out.flush()
            self._close_if_done()

    # -- ends ------------------------------------------------------------------------------------------

    def sweep(self, quiet_before: float, seconds: float) -> None:
        """Refuse slow bodies, give up what nobody takes, send a caller that is idle elsewhere."""
        if self._is_dead:
            self._dying_seconds += seconds
            if self._dying_seconds > STALLED_SECONDS:
                self.abort()
            return
        self._patience.rest(seconds)
        for stream in list(self._streams.values()):
            stream.sweep(seconds, STALLED_SECONDS)
        self.close_if_quiet(quiet_before)

    def close_if_quiet(self, before: float) -> None:
        if self.quiet_since is not None and self.quiet_since <= before:
            self.retire()

    def detach(self) -> int | None:
        """None: what is agreed on the connection is in this process."""
        return None

    def retire(self) -> None:
        """Tell the caller to go elsewhere with its next request; what comes before it has heard is served."""
        if self._is_dead or self._last_call is not None or self._last_stream != _LAST_STREAM:
            return
        self._out.goaway(_LAST_STREAM)
        self._engine.ping(_GOODBYE)
        self._out.flush_soon()
        loop = asyncio.get_running_loop()
        self._last_call = loop.call_later(LAST_CALL_SECONDS, self._close_to_newcomers)

    def _close_to_newcomers(self) -> None:
        """The caller has heard, or had time to: its next streams are refused."""
        if self._last_call is not None:
            self._last_call.cancel()
        self._last_call = None
        self._last_stream = self._engine.highest_inbound_stream_id
        self._out.goaway(self._last_stream)
        if not self._out.is_batching:
            self._close_if_done()

    def _close_if_done(self) -> None:
        is_open = self._streams or self._ending or self._last_stream == _LAST_STREAM
        if not is_open and not self._is_dead:
            self._die()
            if self._transport is not None:
                self._transport.close()

    def abort(self) -> None:
        self._die()
        if self._transport is not None:
            self._transport.abort()

    def _die(self) -> None:
        """Nothing is read or sent from now on, but for what has been said already."""
        if not self._is_dead:
            self._out.flush()
            self._out.stop()
            self._is_dead = True

    def _is_unread(self) -> None:
        if not self._is_dead:
            log.info("a connection of HTTP/2 is not read by its caller", streams=len(self._streams))
            self._is_dead = True
            self.abort()

    def _end(self, code: ErrorCodes | None) -> None:
        """Break the connection off, and say why. code: None if the library has said it."""
        if code is not None:
            self._engine.close_connection(code)
        self._die()
        self._drop_streams()
        if self._last_call is not None:
            self._last_call.cancel()
        if self._transport is not None:
            # What else the caller sends is read until then: a reset would take the reason from it.
            loop = asyncio.get_running_loop()
            self._last_call = loop.call_later(LINGER_SECONDS, self._transport.close)

    def _drop_streams(self) -> None:
        for number in list(self._ending):
            self._end_late(number)
        streams, self._streams = self._streams, {}
        self._touched.clear()
        for stream in streams.values():
            stream.gone()

    def _forget(self, stream: Stream) -> None:
        for where in (self._streams, self._touched, self._owed_of):
            where.pop(stream.number, None)
        self._out.forget(stream.number)
        if not self._streams:
            self.quiet_since = self._door.now()
            self._door.rested(self)
            if not self._out.is_batching:
                self._close_if_done()


# By kind of event; one that is not here spends the caller's patience with us.
_HEARD: Final[Mapping[type[Event], Callable[[H2Connection, Any], None]]] = {
    RequestReceived: H2Connection._hear_request,
    DataReceived: H2Connection._hear_data,
    TrailersReceived: H2Connection._hear_trailers,
    StreamEnded: H2Connection._hear_end,
    StreamReset: H2Connection._hear_reset,
    PingAckReceived: H2Connection._hear_ping_ack,
    ConnectionTerminated: H2Connection._hear_goaway,
}

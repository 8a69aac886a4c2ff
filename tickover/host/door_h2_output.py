"""Frames on their way to a caller of HTTP/2: which stream may send how much, and when.

Owns: what the socket is given, and the streams that wait for room in a window or in the socket. Promises:
streams that wait take turns; a piece of an answer goes out at once while there is room; a caller that reads
nothing is not written to without end. Never: reads, ends a connection by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from hpack import HeaderTuple
from hyperframe.frame import GoAwayFrame

from tickover.host.door_h2_stream import Stream
from tickover.host.h2_engine import Engine
from tickover.host.h2_patience import FOR_A_FRAME, Patience

WRITE_HIGH_BYTES: Final = 64 * 1024
UNREAD_BYTES: Final = 2 * 1024 * 1024  # frames that nobody reads, after which nobody is thought to


class Output:
    """One connection's frames to its caller. unread: who hears that the caller reads nothing."""

    def __init__(self, engine: Engine, patience: Patience, unread: Callable[[], None]) -> None:
        self._engine = engine
        self._patience = patience
        self._unread = unread
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, Stream] = {}  # in their order
        self._unflushed = 0  # bytes of answers
        self._is_writable = True
        self.is_batching = False  # frames are collected until the next flush

    def start(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self.flush()

    def stop(self) -> None:
        """Nothing is sent any more."""
        self._transport = None
        self._waiting.clear()

    def set_writable(self, writable: bool) -> None:
        """What the socket says."""
        self._is_writable = writable
        if writable:
            self.pump()

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def head(self, stream: Stream, fields: list[HeaderTuple], *, ends: bool) -> None:
        """It goes out with what comes next: a push."""
        if self._transport is not None:
            self._engine.send_headers(stream.number, fields, end_stream=ends)

    def push(self, stream: Stream) -> None:
        """Send what the stream has to send, as far as windows allow."""
        while self._send_frame(stream):
            pass
        if self._transport is not None and stream.is_unsent:
            self._waiting[stream.number] = stream
        stream.weigh()
        self.flush_soon()

    def pump(self) -> None:
        """Send what waits, a frame of each in turn."""
        has_sent = True
        while has_sent and self._waiting and self._is_writable:
            has_sent = False
            for stream in list(self._waiting.values()):
                before = stream.sent_bytes
                self._send_frame(stream)
                has_sent = has_sent or stream.sent_bytes != before
                if not stream.is_unsent:
                    self._waiting.pop(stream.number, None)
                stream.weigh()
        self.flush_soon()

    def goaway(self, last_stream: int) -> None:
        """By hand: after its own GOAWAY the library would send no answer any more."""
        self.flush()
        if self._transport is not None:
            self._transport.write(GoAwayFrame(0, last_stream_id=last_stream).serialize())

    def flush_soon(self) -> None:
        if not self.is_batching:
            self.flush()

    def flush(self) -> None:
        data = self._engine.data_to_send()
        self._unflushed = 0
        transport = self._transport
        if not data or transport is None:
            return
        transport.write(data)
        if transport.get_write_buffer_size() > UNREAD_BYTES:
            self._unread()

    def _send_frame(self, stream: Stream) -> bool:
        """One frame of an answer, if there is room for it; whether there may be another."""
        if self._transport is None or not self._is_writable or not stream.is_unsent:
            return False
        engine, out, number = self._engine, stream.out, stream.number
        size = 0
        if out:
            size = min(len(out), engine.local_flow_control_window(number), engine.max_outbound_frame_size)
            if size <= 0:
                return False
        piece = bytes(out[:size])
        del out[:size]
        is_last = stream.is_complete and not out
        if piece or not stream.trailers:
            engine.send_data(number, piece, end_stream=is_last and not stream.trailers)
        if is_last and stream.trailers:
            engine.send_headers(number, stream.trailers, end_stream=True)
        stream.sent_bytes += size
        self._patience.earn(FOR_A_FRAME)
        self._unflushed += size
        if self._unflushed >= WRITE_HIGH_BYTES:
            self.flush()
        if is_last:
            stream.finished()
        return bool(out)

"""A caller that speaks HTTP/2 frame by frame, so that a test decides about every window and every frame."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hyperframe.frame import Frame, GoAwayFrame

Fields = Iterable[tuple[bytes, bytes]]


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    pieces: list[bytes] = field(default_factory=list)
    informational: list[int] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)
    is_complete: bool = False
    reset: int | None = None  # an error code

    @property
    def is_over(self) -> bool:
        return self.is_complete or self.reset is not None


class _Engine(H2Connection):
    """Goes on with its streams after a GOAWAY, as most clients do and this library does not."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        heard = ConnectionTerminated()
        heard.last_stream_id, heard.error_code = frame.last_stream_id, frame.error_code
        return [], [heard]


class Peer:
    """One connection of a caller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.engine = _Engine(
            H2Configuration(
                client_side=True,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.answers: dict[int, Answer] = {}
        self.takes = True  # gives windows back for what it has read
        self.goaways: list[tuple[int, int]] = []  # last stream and error code
        self.is_closed = False

    def request(
        self, path: str = "/fn/chat-dev/x", *, method: str = "GET", more: Fields = (), ends: bool = True
    ) -> int:
        return self.send_fields(
            [
                (b":method", method.encode()),
                (b":scheme", b"http"),
                (b":authority", b"h"),
                (b":path", path.encode()),
                *more,
            ],
            ends=ends,
        )

    def send_fields(self, fields: list[tuple[bytes, bytes]], *, ends: bool = True) -> int:
        number = self.engine.get_next_available_stream_id()
        self.engine.send_headers(number, fields, end_stream=ends)
        self.answers[number] = Answer()
        self.flush()
        return number

    def data(self, number: int, data: bytes, *, ends: bool = False) -> None:
        """Within the windows."""
        size = self.engine.max_outbound_frame_size
        for at in range(0, len(data) or 1, size):
            is_last = at + size >= len(data)
            self.engine.send_data(number, data[at : at + size], end_stream=ends and is_last)
        self.flush()

    async def upload(self, number: int, data: bytes) -> None:
        """As the windows allow."""
        at = 0
        while at < len(data):
            room = min(self.engine.local_flow_control_window(number), len(data) - at)
            if room <= 0:
                await self.step()
                continue
            self.data(number, data[at : at + room], ends=at + room == len(data))
            at += room
            await self.writer.drain()

    def reset(self, number: int, code: int = 8) -> None:
        self.engine.reset_stream(number, code)
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.engine.data_to_send())

    async def step(self) -> None:
        """Read once."""
        data = await self._reader.read(65536)
        if not data:
            self.is_closed = True
            return
        for event in self.engine.receive_data(data):
            self._hear(event)
        self.flush()

    async def hear(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert not self.is_closed, "the host has closed the connection"
            await self.step()

    async def whole(self, number: int) -> Answer:
        await self.hear(lambda: self.answers[number].is_over)
        return self.answers[number]

    async def closed(self) -> None:
        while not self.is_closed:
            try:
                await self.step()
            except ConnectionError:
                self.is_closed = True

    def _hear(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.goaways.append((event.last_stream_id or 0, int(event.error_code or 0)))
            return
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        if answer is None:
            return
        match event:
            case ResponseReceived(headers=headers):
                found = {name.decode(): value.decode() for name, value in headers}
                answer.status = int(found.pop(":status"))
                answer.headers = found
            case InformationalResponseReceived(headers=headers):
                answer.informational.append(int(dict(headers)[b":status"]))
            case DataReceived(data=data, flow_controlled_length=length, stream_id=number):
                answer.body += data or b""
                answer.pieces.append(bytes(data or b""))
                if self.takes and length:
                    self.engine.acknowledge_received_data(length, number)
            case TrailersReceived(headers=headers):
                answer.trailers = {name.decode(): value.decode() for name, value in headers}
            case StreamEnded():
                answer.is_complete = True
            case StreamReset(error_code=code):
                answer.reset = int(code)


@contextlib.asynccontextmanager
async def connect(port: int, context: ssl.SSLContext | None = None, name: str = "") -> AsyncIterator[Peer]:
    """A connection with prior knowledge, or over TLS if there is a context."""
    host = name if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    peer = Peer(reader, writer)
    peer.engine.initiate_connection()
    peer.flush()
    try:
        yield peer
    finally:
        writer.close()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()

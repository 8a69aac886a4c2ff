"""The `h2` library's state of one connection, with this host's settings.

Owns: what the library is told and where it is corrected. Promises: what is open when the caller says GOAWAY
can be finished; one stream too many can be refused by itself. Never: I/O.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame

from tickover.host.http import MAX_HEAD_BYTES

logging.getLogger("hpack").setLevel(logging.WARNING)  # below that it tells every header field

STREAMS: Final = 128  # of one connection at once
STREAM_WINDOW_BYTES: Final = 256 * 1024
TABLE_BYTES: Final = 4096  # of header fields that the host may name again by number
WINDOW_BYTES: Final = 1024 * 1024  # given back as bytes arrive: the streams' own bound what stays here


class _Encoder(Encoder):
    """Says header fields as they are: packing their letters costs more time than it saves bytes.

    Its table stays small whatever the caller allows: it is searched, and held, for each connection.
    """

    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        return super().encode(headers, huffman)

    @property
    def header_table_size(self) -> int:
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, TABLE_BYTES)
        if size != self.header_table.maxsize:
            self.header_table.maxsize = size
            self.table_size_changes.append(size)


class Engine(H2Connection):
    """The library's state of a connection, which goes on with what is open after the caller's GOAWAY."""

    MAX_CLOSED_STREAMS = 4096

    def __init__(self) -> None:
        # Fields are checked by `h2_heads`, so that a bad one costs its stream only.
        super().__init__(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.frames = 0  # whole ones that have come; a head in pieces is one
        self.encoder = _Encoder()
        self.local_settings = _settings(STREAMS)
        self.initiate_connection()
        # One stream too many is refused by itself; the library would end the connection.
        self.local_settings = _settings(2 * STREAMS)
        self.increment_flow_control_window(WINDOW_BYTES - self.inbound_flow_control_window)

    def _receive_frame(self, frame: Frame) -> list[Event]:
        self.frames += 1
        return super()._receive_frame(frame)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        return [], [ConnectionTerminated()]


def _settings(streams: int) -> Settings:
    return Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
        },
    )

"""The first message of a TLS connection: whom a caller asks for, and in which protocols.

Owns: how a ClientHello is read. Promises: a function of the bytes so far; whatever is sent, it reads no more
than is there and says so. Never: answers, decides which certificate that means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_HELLO: Final = 16 * 1024
_RECORD_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_HOST_NAME: Final = 0


class HelloError(ValueError):
    """What a caller has sent begins no TLS connection."""


@dataclass(frozen=True, slots=True)
class Hello:
    """server_name: lower case, empty if none was sent. protocols: by ALPN, the caller's favourite first."""

    server_name: str = ""
    protocols: tuple[str, ...] = ()


class _Reader:
    """Fields of a TLS message one after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise HelloError("a field of the ClientHello is longer than the message")
        found, self._at = self._data[self._at : end], end
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A field that begins with its length in so many bytes."""
        return self.take(self.number(size))

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)


def read_hello(data: bytes) -> Hello | None:
    """What a connection begins with; None if more has to come first. Raises HelloError."""
    message = _message(data)
    if message is None:
        return None
    reader = _Reader(message)
    reader.take(2 + 32)  # version, random
    reader.vector(1)  # session
    reader.vector(2)  # cipher suites
    reader.vector(1)  # compression
    name = ""
    protocols: tuple[str, ...] = ()
    for kind, body in _extensions(reader):
        if kind == _SERVER_NAME:
            name = _server_name(body)
        elif kind == _ALPN:
            protocols = tuple(_protocols(body))
    return Hello(name, protocols)


def _message(data: bytes) -> bytes | None:
    """The ClientHello, which may be spread over several records; None if it is not complete."""
    message = b""
    at = 0
    while True:
        header = data[at : at + 5]
        if header and header[0] != _RECORD_HANDSHAKE:
            raise HelloError("this is not TLS")
        if len(header) < 5:
            break
        length = int.from_bytes(header[3:5], "big")
        message += data[at + 5 : at + 5 + length]
        at += 5 + length
        if message and message[0] != _CLIENT_HELLO:
            raise HelloError("the first message is no ClientHello")
        if len(message) >= 4:
            size = 4 + int.from_bytes(message[1:4], "big")
            if size > MAX_HELLO:
                raise HelloError(f"the ClientHello has more than {MAX_HELLO} bytes")
            if len(message) >= size:
                return message[4:size]
        if length == 0 or len(data) < at:
            break
    if len(data) >= MAX_HELLO:
        raise HelloError(f"the ClientHello has more than {MAX_HELLO} bytes")
    return None


def _extensions(reader: _Reader) -> Iterator[tuple[int, bytes]]:
    if reader.is_over:
        return
    fields = _Reader(reader.vector(2))
    while not fields.is_over:
        yield fields.number(2), fields.vector(2)


def _server_name(body: bytes) -> str:
    names = _Reader(_Reader(body).vector(2))
    while not names.is_over:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return name.decode("ascii", errors="replace").lower()
    return ""


def _protocols(body: bytes) -> Iterator[str]:
    names = _Reader(_Reader(body).vector(2))
    while not names.is_over:
        yield names.vector(1).decode("ascii", errors="replace")

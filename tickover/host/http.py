"""Requests and responses as values, their limits, and how heads are written.

Owns: the form of an HTTP message inside the host. Promises: nothing here waits or does I/O; a head that
two readers could read differently is refused. Never: decides where a request goes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HEADER_BYTES: Final = 8 * 1024
MAX_PATH_BYTES: Final = 4 * 1024
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
MAX_HEADERS: Final = 256
METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"})

VERSIONS: Final = frozenset({"1.0", "1.1", "2"})

Headers = tuple[tuple[bytes, bytes], ...]

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"content-length",
    }
)
_RESPONSE_DROPPED: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"trailer", b"content-length"}
)
# What would change how a message is framed, routed or trusted if it came after the body.
_NEVER_TRAILERS: Final = _HOP_BY_HOP | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"host",
    b"set-cookie",
}
_PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close"})  # names no header
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head. Header names are lower case; target is as sent, without scheme and authority.

    version: 1.0, 1.1, or 2; a head of HTTP/2 says the same things as one of 1.1 would, framing included.
    """

    method: str
    target: str
    headers: Headers
    version: str = "1.1"
    is_tls: bool = False
    _first: dict[bytes, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The first of several equal names wins, as in a search from the top.
        object.__setattr__(self, "_first", dict(reversed(self.headers)))

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        return self._first.get(name)

    @property
    def host(self) -> str:
        """The Host header without its port, lower case."""
        value = (self.header(b"host") or b"").decode("latin-1").lower()
        if value.startswith("["):
            return value.partition("]")[0] + "]"
        return value.partition(":")[0]

    def told(self, headers: Headers) -> Head:
        """This head with headers of the host's own, in the place of any that the caller gave them."""
        names = {name for name, _ in headers}
        kept = tuple(pair for pair in self.headers if pair[0] not in names)
        return replace(self, headers=(*kept, *headers))

    @property
    def content_length(self) -> int | None:
        value = self._first.get(b"content-length")
        return int(value) if value is not None and value.strip().isdigit() else None

    @property
    def is_chunked(self) -> bool:
        return b"transfer-encoding" in self._first

    @property
    def has_body(self) -> bool:
        return self.is_chunked or bool(self.content_length)

    @property
    def keeps_alive(self) -> bool:
        """The caller will send another request on its connection."""
        if self.version == "1.0":
            return False
        connection = self._first.get(b"connection")
        return connection is None or b"close" not in connection.lower()

    @property
    def awaits_continue(self) -> bool:
        """The caller sends no body before it is told to."""
        expect = self._first.get(b"expect")
        return expect is not None and expect.strip().lower() == b"100-continue" and self.version != "1.0"

    @property
    def is_websocket(self) -> bool:
        return (
            b"upgrade" in self._first
            and (self.header(b"upgrade") or b"").lower() == b"websocket"
            and b"upgrade" in (self.header(b"connection") or b"").lower()
            and self.method == "GET"
            and not self.is_chunked
            and not self.content_length
        )


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer made by the host itself."""

    status: int
    body: bytes = b""
    headers: Headers = field(default=())


@dataclass(eq=False)
class HttpError(Exception):
    """An answer that refuses, in FC's form."""

    status: int
    code: str
    message: str
    retry_after_seconds: int | None = None
    headers: Headers = ()

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


def new_request_id() -> str:
    """A random UUID (version 4)."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode(), ((b"content-type", b"application/json"),))


def error_response(error: HttpError, request_id: str) -> Response:
    """FC's error body: Code, Message, RequestId."""
    body = json.dumps({"Code": error.code, "Message": error.message, "RequestId": request_id}).encode()
    headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json"), *error.headers]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
    return Response(error.status, body, tuple(headers))


def check_head(head: Head) -> HttpError | None:
    """Why a head must not be served, or None."""
    lengths: list[bytes] = []
    encodings: list[bytes] = []
    hosts = size = 0
    for key, value in head.headers:
        size += len(value)
        if key == b"content-length":
            lengths.append(value.strip())
        elif key == b"transfer-encoding":
            encodings.append(value)
        elif key == b"host":
            hosts += 1
    if head.version not in VERSIONS:
        words = f"HTTP/{head.version} is not spoken here; HTTP/1.1 and HTTP/2 are"
        return HttpError(505, "InvalidArgument", words)
    if lengths or encodings:
        problem = _check_framing(head, lengths, encodings)
        if problem is not None:
            return problem
    if hosts != 1 and (hosts or head.version != "1.0"):
        return HttpError(400, "InvalidArgument", "a request needs exactly one Host header")
    if len(head.target) > MAX_PATH_BYTES:
        return HttpError(400, "InvalidArgument", f"the path is longer than {MAX_PATH_BYTES} bytes")
    if size > MAX_HEADER_BYTES:
        return HttpError(
            400, "InvalidArgument", f"the header values exceed {MAX_HEADER_BYTES} bytes together"
        )
    if len(head.headers) > MAX_HEADERS:
        return HttpError(400, "InvalidArgument", f"the request has more than {MAX_HEADERS} headers")
    if not head.target.startswith("/"):
        return HttpError(400, "InvalidArgument", f"{head.method} needs a path that begins with /")
    if head.method not in METHODS:
        return HttpError(405, "MethodNotAllowed", f"{head.method} is not among {', '.join(sorted(METHODS))}")
    if (expect := head.header(b"expect")) and expect.strip().lower() != b"100-continue":
        return HttpError(417, "InvalidArgument", "the only expectation that can be met is 100-continue")
    return None


def _check_framing(head: Head, lengths: list[bytes], encodings: list[bytes]) -> HttpError | None:
    """Where the body ends has to be said once, in one way."""
    if len(lengths) > 1 or (lengths and encodings):
        return HttpError(400, "InvalidArgument", "the request says in two ways where its body ends")
    if lengths and not (lengths[0].isdigit() and lengths[0].isascii()):
        return HttpError(400, "InvalidArgument", "content-length is not a number")
    if encodings and (len(encodings) > 1 or encodings[0].strip().lower() != b"chunked"):
        return HttpError(400, "InvalidArgument", "the only transfer-encoding supported is chunked")
    if encodings and head.version == "1.0":
        return HttpError(400, "InvalidArgument", "HTTP/1.0 knows no transfer-encoding")
    if lengths and int(lengths[0]) > MAX_BODY_BYTES:
        return too_large()
    return None


def too_large() -> HttpError:
    return HttpError(400, "EntityTooLarge", f"the request body exceeds {MAX_BODY_BYTES} bytes")


def origin_form(target: str) -> str:
    """``http://host/path?q`` as ``/path?q``; anything else as it is."""
    for scheme in ("http://", "https://"):
        if target[: len(scheme)].lower() == scheme:
            path = target[len(scheme) :].partition("/")[2]
            return "/" + path
    return target


def upstream_head(head: Head, target: str, extra: bytes, *, fixed_length: int | None = None) -> bytes:
    """The head that goes to the instance: no hop-by-hop and no client x-fc-* headers, framing made anew.

    extra: whole lines, each with its end. fixed_length: the body is held whole and has this many bytes,
    because the request was signed; the signature ends here.
    """
    first = head._first
    is_plain = first.get(b"connection", b"keep-alive").lower() in _PLAIN_CONNECTION
    nominated = frozenset() if is_plain else _nominated(head.headers)
    lines = [f"{head.method} {target} HTTP/1.1".encode("latin-1")]
    for key, value in head.headers:
        if key in _HOP_BY_HOP or key[:5] == b"x-fc-" or key in nominated:
            continue
        if fixed_length is not None and (key == b"authorization" or key[:6] == b"x-acs-"):
            continue
        lines.append(key + b": " + value)
    if fixed_length is not None:
        lines.append(b"content-length: %d" % fixed_length)
    elif b"transfer-encoding" in first:
        lines.append(b"transfer-encoding: chunked")
        if b"trailer" in first:
            lines.append(b"trailer: " + first[b"trailer"])
    elif b"content-length" in first:
        lines.append(b"content-length: " + first[b"content-length"].strip())
    elif head.is_websocket:
        lines.append(b"connection: Upgrade\r\nupgrade: websocket")
    if b"host" not in first:  # HTTP/1.0 need not say it
        lines.append(b"host: localhost")
    lines.append(extra)
    return b"\r\n".join(lines) + b"\r\n"


def _nominated(headers: Headers) -> frozenset[bytes]:
    """Headers that end at the next hop because their sender says so; naming Host must not remove it."""
    named = (value.split(b",") for key, value in headers if key.lower() == b"connection")
    return frozenset(name.strip().lower() for names in named for name in names) - {b"host"}


def relayed_head(status: int, reason: bytes, headers: Headers, extra: bytes) -> bytes:
    """The head of an instance's answer as the caller sees it. extra: whole lines, each with its end."""
    lines = [b"HTTP/1.1 %d %b" % (status, reason or _REASONS.get(status, b""))]
    nominated: frozenset[bytes] = frozenset()
    for key, value in headers:
        lower = key.lower()
        if lower in _RESPONSE_DROPPED:
            if lower == b"connection" and value.lower() not in _PLAIN_CONNECTION:
                nominated = _nominated(headers) - _NEVER_TRAILERS
            continue
        if lower[:2] == b"x-" and lower.startswith((b"x-fc-", b"x-tickover-")):
            continue
        lines.append(key + b": " + value)
    if nominated:
        lines[1:] = [line for line in lines[1:] if line.partition(b":")[0].lower() not in nominated]
    lines.append(extra)
    return b"\r\n".join(lines) + b"\r\n"


def header_lines(headers: Headers) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in headers)


def trailer_lines(trailers: Headers) -> bytes:
    """What may be passed on of the headers that followed a chunked body."""
    kept = (
        key + b": " + value + b"\r\n"
        for key, value in trailers
        if (lower := key.lower()) not in _NEVER_TRAILERS and not lower.startswith((b"x-fc-", b"x-tickover-"))
    )
    return b"".join(kept)


def render(response: Response, *, keep_alive: bool, head_only: bool = False, extra: Headers = ()) -> bytes:
    """A whole answer of the host's own as bytes."""
    lines = [b"HTTP/1.1 %d %s" % (response.status, _REASONS.get(response.status, b""))]
    lines.extend(key + b": " + value for key, value in (*response.headers, *extra))
    if response.status != HTTPStatus.NO_CONTENT:
        lines.append(b"content-length: %d" % len(response.body))
    lines.append(b"connection: " + (b"keep-alive" if keep_alive else b"close"))
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    return head if head_only or response.status == HTTPStatus.NO_CONTENT else head + response.body

"""Heads of HTTP/2, read into the host's own form and written from it.

Owns: which fields of HTTP/2 are a request, and how an answer's fields are said in HTTP/2. Promises: what gets
through can be written as HTTP/1.1 and is read there as the same request; anything else is refused with its
reason. Never: I/O, limits of size (`http.check_head` has them).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hpack import HeaderTuple, NeverIndexedHeaderTuple

from tickover.host.http import Head, Headers

VERSION: Final = "2"

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_PATH: Final = re.compile(rb"[\x21-\x7e]+")
_AUTHORITY: Final = re.compile(rb"[^\x00-\x20\x7f/?#@\\]*")
_PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path"})
_SCHEMES: Final = frozenset({b"http", b"https"})
# Fields that speak of one HTTP/1.1 connection: in HTTP/2 they have no meaning but to be misread further on.
_OF_CONNECTIONS: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
# Values that differ from answer to answer, or are secret: the compression table is not for them.
_NOT_INDEXED: Final = frozenset(
    {b"set-cookie", b"content-length", b"date", b"etag", b"x-fc-request-id", b"x-tickover-waited-ms"}
)


class MalformedError(ValueError):
    """Fields that are no request of HTTP/2; the message quotes none of them but their names."""


def read_head(fields: Iterable[tuple[bytes, bytes]], *, is_tls: bool, is_whole: bool) -> Head:
    """The request that fields ask for. is_whole: no body follows. Raises MalformedError."""
    pseudo: dict[bytes, bytes] = {}
    headers: list[tuple[bytes, bytes]] = []
    crumbs: list[bytes] = []
    for name, value in fields:
        if name[:1] == b":":
            if headers or crumbs:
                raise MalformedError("a pseudo-header field comes after a header field")
            _take_pseudo(pseudo, name, value)
            continue
        _check_field(name, value)
        if name == b"cookie":
            crumbs.append(value)
        else:
            headers.append((name, value))
    if crumbs:
        headers.append((b"cookie", b"; ".join(crumbs)))
    framing = _framing(headers, is_whole=is_whole)
    host = _host(pseudo.get(b":authority"), headers)
    return Head(
        _method(pseudo),
        _target(pseudo),
        (*host, *headers, *framing),
        VERSION,
        is_tls,
    )


def read_trailers(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Fields that followed a body. Raises MalformedError."""
    trailers: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if name[:1] == b":":
            raise MalformedError("a pseudo-header field is among the trailers")
        _check_field(name, value)
        trailers.append((name, value))
    return tuple(trailers)


def answer_fields(status: int, headers: Iterable[tuple[bytes, bytes]]) -> list[HeaderTuple]:
    """An answer's head in HTTP/2: what speaks of the connection is left out."""
    return [HeaderTuple(b":status", b"%d" % status), *trailer_fields(headers)]


def trailer_fields(headers: Iterable[tuple[bytes, bytes]]) -> list[HeaderTuple]:
    """Header fields in HTTP/2."""
    fields: list[HeaderTuple] = []
    for key, value in headers:
        name = key.lower()
        if name not in _OF_CONNECTIONS:
            form = NeverIndexedHeaderTuple if name in _NOT_INDEXED else HeaderTuple
            fields.append(form(name, value.strip(b" \t")))
    return fields


def _take_pseudo(pseudo: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    if name not in _PSEUDO:
        raise MalformedError("it has a pseudo-header field that requests do not have here")
    if name in pseudo:
        raise MalformedError(f"it has {name.decode()} twice")
    pseudo[name] = value


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise MalformedError("the name of a header field is not in lower case, or no name")
    told = name.decode()
    if not _VALUE.fullmatch(value) or value != value.strip(b" \t"):
        raise MalformedError(f"the value of {told} has characters or spaces that no value may have")
    if name in _OF_CONNECTIONS or (name == b"te" and value.lower() != b"trailers"):
        raise MalformedError(f"{told} is a header field of HTTP/1.1 connections")


def _framing(headers: list[tuple[bytes, bytes]], *, is_whole: bool) -> Headers:
    """What HTTP/1.1 has to be told about a body whose length is not known."""
    lengths = [value for name, value in headers if name == b"content-length"]
    if is_whole and any(value.strip(b"0") for value in lengths):
        raise MalformedError("content-length speaks of a body, and there is none")
    if is_whole or lengths:
        return ()
    return ((b"transfer-encoding", b"chunked"),)


def _host(authority: bytes | None, headers: list[tuple[bytes, bytes]]) -> Headers:
    """The Host header of HTTP/1.1, taken out of the headers: who says both has to say the same."""
    told = [value for name, value in headers if name == b"host"]
    if len(told) > 1:
        raise MalformedError("it has host twice")
    if authority is not None:
        told.append(authority)
    if any(not _AUTHORITY.fullmatch(value) for value in told) or len({value.lower() for value in told}) > 1:
        raise MalformedError(":authority and host do not name one host")
    headers[:] = [pair for pair in headers if pair[0] != b"host"]
    return ((b"host", told[-1]),) if told else ()


def _method(pseudo: dict[bytes, bytes]) -> str:
    method = pseudo.get(b":method", b"")
    if not _METHOD.fullmatch(method):
        raise MalformedError(":method is missing, or no method")
    return method.decode("latin-1")


def _target(pseudo: dict[bytes, bytes]) -> str:
    if pseudo.get(b":method") == b"CONNECT" and b":path" not in pseudo:
        return pseudo.get(b":authority", b"").decode("latin-1")  # refused as in HTTP/1.1: it is no path
    if pseudo.get(b":scheme", b"").lower() not in _SCHEMES:
        raise MalformedError(":scheme is missing, or neither http nor https")
    path = pseudo.get(b":path", b"")
    if not _PATH.fullmatch(path):
        raise MalformedError(":path is missing, or no path")
    return path.decode("latin-1")

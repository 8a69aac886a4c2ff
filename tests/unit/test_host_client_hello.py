"""The first message of TLS: what is read of real ones, whole and in pieces, and of anything else."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.host.client_hello import MAX_HELLO, Hello, HelloError, read_hello


def first_message(name: str | None, *protocols: str) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    going = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), going, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return going.read()


REAL = first_message("Chat.Example.com", "h2", "http/1.1")


def test_name_and_protocols() -> None:
    assert read_hello(REAL) == Hello("chat.example.com", ("h2", "http/1.1"))
    assert read_hello(first_message(None)) == Hello()
    assert read_hello(REAL + b"more") == read_hello(REAL)


def test_until_it_is_whole_there_is_nothing_to_say() -> None:
    assert {read_hello(REAL[:end]) for end in range(len(REAL))} == {None}


@pytest.mark.parametrize("size", [1, 7, 100])
def test_it_may_come_in_several_records(size: int) -> None:
    body = REAL[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    spread = b"".join(REAL[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    assert read_hello(spread) == read_hello(REAL)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1",
        REAL[:5] + b"\x02" + REAL[6:],
        REAL[:6] + b"\xff\xff\xff" + REAL[9:],
        REAL[:5] + b"\x01\x00\x00\x02\x03\x03" + REAL[11:],
        b"\x16\x03\x01\x00\x00" * MAX_HELLO,
        REAL[:76] + b"\xff\xff" + REAL[78:],  # more suites than bytes
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(HelloError):
        read_hello(data)


@given(st.integers(5, len(REAL) - 1), st.binary(max_size=40))
def test_a_broken_one_is_refused_or_read(at: int, noise: bytes) -> None:
    with contextlib.suppress(HelloError):
        read_hello(REAL[:at] + noise + REAL[at + len(noise) :])

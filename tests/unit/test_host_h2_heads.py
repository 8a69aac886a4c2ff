"""Fields of HTTP/2 as the host's heads, and answers as fields of HTTP/2."""

from __future__ import annotations

import httptools
import pytest
from hpack import NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from tickover.host.h2_heads import (
    MalformedError,
    answer_fields,
    read_head,
    read_trailers,
    trailer_fields,
)
from tickover.host.http import check_head, upstream_head

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test:8"), (b":path", b"/x?y=1")]
POST = [(b":method", b"POST"), *GET[1:]]


def read(*fields: tuple[bytes, bytes], is_whole: bool = True):
    return read_head(fields, is_tls=True, is_whole=is_whole)


def test_a_head_says_what_the_fields_say():
    head = read(*GET, (b"accept", b"*/*"), (b"te", b"trailers"))
    assert (head.method, head.target, head.version, head.is_tls) == ("GET", "/x?y=1", "2", True)
    assert head.headers == ((b"host", b"a.test:8"), (b"accept", b"*/*"), (b"te", b"trailers"))
    assert head.host == "a.test"
    assert not head.has_body
    assert head.keeps_alive
    assert check_head(head) is None


def test_cookie_crumbs_are_one_cookie_again():
    head = read(*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"))
    assert [pair for pair in head.headers if pair[0] == b"cookie"] == [(b"cookie", b"a=1; b=2")]


def test_a_body_without_a_length_is_chunked_further_on_and_one_with_a_length_is_not():
    chunked = read(*POST, is_whole=False)
    assert chunked.is_chunked and chunked.has_body and chunked.content_length is None
    sized = read(*POST, (b"content-length", b"5"), is_whole=False)
    assert not sized.is_chunked and sized.content_length == 5
    empty = read(*POST, (b"content-length", b"0"))
    assert not empty.has_body
    assert [check_head(head) for head in (chunked, sized, empty)] == [None] * 3


def test_host_stands_in_for_authority_and_none_of_both_is_refused_later():
    without = [field for field in GET if field[0] != b":authority"]
    assert read(*without, (b"host", b"b.test")).host == "b.test"
    assert read(*GET, (b"host", b"A.test:8")).headers == ((b"host", b"a.test:8"),)
    refusal = check_head(read(*without))
    assert refusal is not None and refusal.status == 400


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([*GET, (b"connection", b"close")], "connection"),
        ([*GET, (b"transfer-encoding", b"chunked")], "transfer-encoding"),
        ([*GET, (b"upgrade", b"websocket")], "upgrade"),
        ([*GET, (b"keep-alive", b"5")], "keep-alive"),
        ([*GET, (b"proxy-connection", b"close")], "proxy-connection"),
        ([*GET, (b"te", b"gzip")], "te is"),
        ([*GET, (b"X-Upper", b"1")], "lower case"),
        ([*GET, (b"", b"1")], "no name"),
        ([*GET, (b"a b", b"1")], "no name"),
        ([*GET, (b"a:b", b"1")], "no name"),
        ([*GET, (b"x\r\nhost", b"1")], "no name"),
        ([*GET, (b"x", b"a\r\nb: c")], "value of x"),
        ([*GET, (b"x", b"a\nb")], "value of x"),
        ([*GET, (b"x", b"a\0")], "value of x"),
        ([*GET, (b"x", b"\x7f")], "value of x"),
        ([*GET, (b"x", b" a")], "value of x"),
        ([*GET, (b"cookie", b"a=1\r\n")], "value of cookie"),
        ([*GET, (b":path", b"/other")], ":path twice"),
        ([*GET, (b":protocol", b"websocket")], "pseudo-header"),
        ([*GET, (b":status", b"200")], "pseudo-header"),
        ([GET[0], (b"accept", b"*/*"), *GET[1:]], "comes after"),
        ([GET[0], (b"cookie", b"a=1"), *GET[1:]], "comes after"),
        ([field for field in GET if field[0] != b":method"], ":method"),
        ([field for field in GET if field[0] != b":scheme"], ":scheme"),
        ([field for field in GET if field[0] != b":path"], ":path"),
        ([*GET[:3], (b":path", b"")], ":path"),
        ([*GET[:3], (b":path", b"/ HTTP/1.1\r\nx: y")], ":path"),
        ([*GET[:3], (b":path", b"/a b")], ":path"),
        ([(b":method", b"GET / HTTP/1.1"), *GET[1:]], ":method"),
        ([GET[0], (b":scheme", b"ftp"), *GET[2:]], ":scheme"),
        ([*GET[:2], (b":authority", b"u:p@a.test"), GET[3]], "one host"),
        ([*GET[:2], (b":authority", b"a.test/x"), GET[3]], "one host"),
        ([*GET[:2], (b":authority", b"a\r\nb"), GET[3]], "one host"),
        ([*GET, (b"host", b"b.test")], "one host"),
        ([*GET, (b"host", b"a.test:8"), (b"host", b"a.test:8")], "host twice"),
        ([*GET, (b"content-length", b"3")], "there is none"),
        ([*GET, (b"content-length", b"x")], "there is none"),
    ],
)
def test_what_could_be_misread_further_on_is_refused(fields, why):
    with pytest.raises(MalformedError, match=why):
        read(*fields)


@pytest.mark.parametrize("lengths", [[b"5", b"5"], [b"5", b"6"], [b"+5"], [b"5 5"], [b"0x5"], [b"\xb2"]])
def test_a_length_is_said_once_and_is_a_number(lengths):
    refusal = check_head(read(*POST, *((b"content-length", length) for length in lengths), is_whole=False))
    assert refusal is not None and refusal.status == 400


def test_connect_is_refused_as_in_http_1():
    refusal = check_head(read((b":method", b"CONNECT"), (b":authority", b"a.test:443"), is_whole=False))
    assert refusal is not None and refusal.status == 400


def test_secrets_are_in_no_message():
    with pytest.raises(MalformedError) as caught:
        read(*GET, (b"authorization", b"Bearer very-secret\0"))
    assert "very-secret" not in str(caught.value)


class Heard:
    def __init__(self) -> None:
        self.url, self.headers, self.heads = b"", [], 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.heads += 1


ODD = st.binary(max_size=12) | st.sampled_from(
    [b"close", b"chunked", b"a\r\nb: c", b"GET", b"/", b"host", b"te"]
)


@given(
    st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"host", b"te", b"cookie", b"expect"]) | ODD, ODD)),
    ODD,
    ODD,
)
def test_whatever_gets_through_is_one_request_of_http_1_with_the_same_headers(fields, path, authority):
    """No field can be chosen so that the instance's server reads more requests or headers than were said."""
    pseudo = [*GET[:2], (b":authority", authority), (b":path", b"/" + path)]
    try:
        head = read(*pseudo, *fields)
    except MalformedError:
        return
    if check_head(head) is not None:
        return
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    parser.feed_data(upstream_head(head, head.target, b"x-end: 1\r\n"))
    assert heard.heads == 1
    assert heard.url == head.target.encode("latin-1")
    assert heard.headers[-1] == (b"x-end", b"1")
    said = [(name, value) for name, value in head.headers if name not in (b"te", b"expect")]
    assert heard.headers[:-1] == [
        pair
        for pair in said
        if not pair[0].startswith(b"x-fc-") and pair[0] not in (b"trailer", b"content-length")
    ]


def test_trailers_are_fields_without_pseudo_ones():
    assert read_trailers([(b"x-sum", b"1")]) == ((b"x-sum", b"1"),)
    for fields in ([(b":status", b"200")], [(b"x", b"a\r\nb")], [(b"connection", b"x")]):
        with pytest.raises(MalformedError):
            read_trailers(fields)


def test_an_answer_is_said_without_what_speaks_of_a_connection():
    headers = [
        (b"Content-Type", b"text/plain"),
        (b"Connection", b"close"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"X-Padded", b" y "),
    ]
    fields = answer_fields(200, headers)
    assert [tuple(field) for field in fields] == [
        (b":status", b"200"),
        (b"content-type", b"text/plain"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-padded", b"y"),
    ]
    assert isinstance(fields[2], NeverIndexedHeaderTuple)
    assert not isinstance(fields[1], NeverIndexedHeaderTuple)
    assert [tuple(field) for field in trailer_fields([(b"X-Sum", b"9")])] == [(b"x-sum", b"9")]

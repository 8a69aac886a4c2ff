"""corsConfig: which origin hears what."""

from __future__ import annotations

import pytest

from tickover.host.cors import CorsRule, CorsRuleError, cors_rule
from tickover.host.http import Head, HttpError, Response

CONFIG = {
    "allowOrigins": ["https://a.test", "https://*.b.test"],
    "allowMethods": ["GET", "POST"],
    "allowHeaders": ["X-A"],
    "exposeHeaders": ["X-B"],
    "allowCredentials": True,
    "maxAge": 60,
}


def rule(**changes: object) -> CorsRule:
    made = cors_rule({**CONFIG, **changes})
    assert made is not None
    return made


def head(origin: str, method: str = "GET", **more: str) -> Head:
    extra = tuple((k.replace("_", "-").encode(), v.encode()) for k, v in more.items())
    return Head(method, "/", ((b"host", b"a.test"), (b"origin", origin.encode()), *extra))


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://a.test", True),
        ("https://x.b.test", True),
        ("https://x.y.b.test", True),
        ("https://b.test", False),
        ("https://a.test.evil.test", False),
        ("http://a.test", False),
        ("https://xb.test", False),
        ("null", False),
    ],
)
def test_only_allowed_origins_are_told(origin: str, is_allowed: bool) -> None:
    told = dict(rule().headers(head(origin)))
    assert told.get(b"access-control-allow-origin") == (origin.encode() if is_allowed else None)
    assert told[b"vary"] == b"Origin"
    assert (b"access-control-allow-credentials" in told) is is_allowed
    assert told.get(b"access-control-expose-headers") == (b"X-B" if is_allowed else None)


def test_any_origin_is_a_star_only_without_credentials() -> None:
    open_to_all = rule(allowOrigins=["*"], allowCredentials=False)
    assert dict(open_to_all.headers(head("https://x"))) == {
        b"access-control-allow-origin": b"*",
        b"access-control-expose-headers": b"X-B",
    }
    with_credentials = rule(allowOrigins=["*"]).headers(head("https://x"))
    assert dict(with_credentials)[b"access-control-allow-origin"] == b"https://x"


def test_preflight_says_what_is_allowed() -> None:
    asked = head("https://a.test", "OPTIONS", access_control_request_method="POST")
    answer = rule().preflight(asked)
    assert isinstance(answer, Response)
    assert (answer.status, dict(answer.headers)) == (
        204,
        {
            b"access-control-allow-methods": b"GET, POST",
            b"access-control-allow-headers": b"X-A",
            b"access-control-max-age": b"60",
        },
    )


def test_any_header_means_those_that_were_asked_for() -> None:
    asked = head(
        "https://a.test",
        "OPTIONS",
        access_control_request_method="POST",
        access_control_request_headers="authorization",
    )
    answer = rule(allowHeaders=["*"]).preflight(asked)
    assert isinstance(answer, Response)
    assert dict(answer.headers)[b"access-control-allow-headers"] == b"authorization"


def test_refused_preflights_and_what_is_none() -> None:
    for refused in (
        head("https://evil.test", "OPTIONS", access_control_request_method="POST"),
        head("https://a.test", "OPTIONS", access_control_request_method="DELETE"),
    ):
        answer = rule().preflight(refused)
        assert isinstance(answer, HttpError)
        assert answer.status == 403
    assert rule().preflight(head("https://a.test", "OPTIONS")) is None
    assert rule().preflight(head("https://a.test", "GET", access_control_request_method="GET")) is None
    assert cors_rule(None) is None


def test_what_no_header_could_say_is_refused() -> None:
    for name, text in (
        ("allowHeaders", "X-A\r\nX: y"),
        ("allowOrigins", "https://a, https://b"),
        ("exposeHeaders", "ä"),
    ):
        with pytest.raises(CorsRuleError, match=name):
            rule(**{name: [text]})

"""jwt and basic: who is let in, what the function is told, and what is refused at declaration."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tickover.host.auth import AuthRuleError, auth_rule, check_caller
from tickover.host.http import Head, HttpError
from tickover.host.jwks import Fetched

NOW = 1_000_000.0
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SECRET = b"k" * 32
SHARED = {"kty": "oct", "alg": "HS256", "k": base64.urlsafe_b64encode(SECRET).decode().rstrip("=")}


def jwk(key: Any, algorithm: str, kid: str) -> dict[str, Any]:
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
    return {**made, "alg": algorithm, "kid": kid}  # private parts as well: they are left aside


KEYS = {"keys": [jwk(RSA, "RS256", "r"), jwk(EC, "ES256", "e"), jwk(ED, "EdDSA", "d"), SHARED]}
CONFIG = {"jwks": KEYS, "tokenLookup": "header:Authorization:Bearer ,cookie:token,query:t"}


def nothing(uri: str) -> tuple[Fetched, float]:
    return Fetched(), 0.0


def ask(
    config: dict[str, Any], *headers: tuple[bytes, bytes], target: str = "/v1/x", now: float = NOW
) -> Any:
    rule = auth_rule("jwt", json.dumps(config))
    return check_caller(rule, Head("GET", target, headers), now, nothing)


def bearer(token: str) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + token.encode())


def signed(key: Any, algorithm: str, kid: str | None, **claims: Any) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "d"), (SECRET, "HS256", None)],
    ids=["rsa", "ec", "ed", "hmac"],
)
def test_each_kind_of_key_lets_its_tokens_in(key: Any, algorithm: str, kid: str | None) -> None:
    assert ask(CONFIG, bearer(signed(key, algorithm, kid, sub="a", exp=NOW + 1))) == ()


def test_token_in_header_cookie_and_query() -> None:
    token = signed(RSA, "RS256", "r", sub="a")
    assert ask(CONFIG, (b"cookie", b"a=b; token=" + token.encode())) == ()
    assert ask(CONFIG, target=f"/v1/x?t={token}") == ()
    assert isinstance(ask(CONFIG, (b"authorization", token.encode())), HttpError)  # without its prefix


def test_times_of_a_token_count() -> None:
    old = ask(CONFIG, bearer(signed(RSA, "RS256", "r", exp=NOW)))
    early = ask(CONFIG, bearer(signed(RSA, "RS256", "r", nbf=NOW + 1)))
    assert (old.status, old.message) == (401, "the JWT has expired")
    assert (early.status, early.message) == (401, "the JWT is not valid yet")


def test_forged_tokens_are_refused_and_never_shown() -> None:
    pem_as_secret = base64.urlsafe_b64encode(b"x" * 40).decode()
    forged = [
        signed(rsa.generate_private_key(65537, 2048), "RS256", "r", sub="a"),
        signed(SECRET, "HS256", "r", sub="a"),  # the algorithm of another key
        signed(RSA, "RS512", "r", sub="a"),  # another algorithm of the same key
        signed(RSA, "RS256", "unknown", sub="a"),
        jwt.encode({"sub": "a"}, None, algorithm="none", headers={"kid": "r"}),
        "no.jwt",
        pem_as_secret,
    ]
    for token in forged:
        refusal = ask(CONFIG, bearer(token))
        assert isinstance(refusal, HttpError)
        assert refusal.status == 401
        assert token not in refusal.message
    assert ask(CONFIG).status == 401


def test_claims_become_headers_that_callers_cannot_give() -> None:
    config = {**CONFIG, "claimPassBy": "header:sub:x-user,header:roles:x-roles,header:none:x-none"}
    told = ask(config, bearer(signed(RSA, "RS256", "r", sub="a\r\nx: y", roles=["b"])), (b"x-user", b"root"))
    assert told == ((b"x-user", b"a  x: y"), (b"x-roles", b'["b"]'), (b"x-none", b""))
    head = Head("GET", "/", ((b"x-user", b"root"), (b"a", b"b"))).told(told)
    assert [v for n, v in head.headers if n == b"x-user"] == [b"a  x: y"]
    assert head.header(b"a") == b"b"


@pytest.mark.parametrize(
    ("lists", "path", "is_open"),
    [
        ({"whitelist": ["/login/*", "/a"]}, "/login/x", True),
        ({"whitelist": ["/login/*", "/a"]}, "/a", True),
        ({"whitelist": ["/login/*", "/a"]}, "/a/", False),
        ({"whitelist": ["/login/*"]}, "/login/../admin", False),
        ({"whitelist": ["/login/*"]}, "/login/%2e%2e/admin", False),
        ({"whitelist": ["/login/*"]}, "/login/..%5cadmin", False),
        ({"blacklist": ["/admin/*"]}, "/admin/x", False),
        ({"blacklist": ["/admin/*"]}, "/%61dmin/x", False),
        ({"blacklist": ["/admin/*"]}, "/x/../admin/x", False),
        ({"blacklist": ["/admin/*"]}, "//admin/x", False),
        ({"blacklist": ["/admin/*"]}, "/other", True),
    ],
)
def test_lists_of_paths(lists: dict[str, Any], path: str, is_open: bool) -> None:
    found = ask({**CONFIG, **lists, "claimPassBy": "header:sub:x-user"}, target=path)
    assert (found == ((b"x-user", b""),)) is is_open


@pytest.mark.parametrize(
    "change",
    [
        {"jwks": None},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [{"kty": "RSA"}]}},
        {"jwks": {"keys": [{**SHARED, "k": "c2hvcnQ"}]}},
        {"jwks": {"keys": [{**SHARED, "alg": "none"}]}},
        {"jwks": {"keys": [SHARED, SHARED]}},
        {"jwksUri": "https://example.test/keys"},  # beside jwks
        {"tokenLookup": ""},
        {"tokenLookup": "form:t"},
        {"claimPassBy": "form:a:b"},
        {"claimPassBy": "header:a:b\r\nc"},
        {"claimPassBy": "header:a:Content-Length"},
        {"claimPassBy": "header:a:x-fc-account-id"},
        {"whitelist": ["/a"], "blacklist": ["/b"]},
        {"whitelist": ["a"]},
    ],
)
def test_rules_that_cannot_be_checked_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AuthRuleError) as caught:
        auth_rule("jwt", json.dumps({**CONFIG, **change}))
    assert "c2hvcnQ" not in str(caught.value)


def test_basic_users() -> None:
    rule = auth_rule("basic", '{"users": [{"username": "u", "password": "p:1"}]}')
    assert "p:1" not in repr(rule)

    def given(text: bytes) -> Any:
        return check_caller(rule, Head("GET", "/", ((b"authorization", text),)), NOW, nothing)

    assert given(b"Basic " + base64.b64encode(b"u:p:1")) == ()
    for wrong in (b"", b"Basic !", b"Basic " + base64.b64encode(b"u:p"), b"Bearer u:p:1"):
        refusal = given(wrong)
        assert refusal.status == 401
        assert refusal.headers[0][0] == b"www-authenticate"

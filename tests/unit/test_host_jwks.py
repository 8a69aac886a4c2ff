"""Key sets by URL: which URLs, which keys of a set, when it is asked for again, and that old keys stay."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tickover.host.auth_jwt import JwtRule, jwt_rule
from tickover.host.http import Head, HttpError
from tickover.host.jwks import KeySetError, KeysWanted, checked_uri, fetched_keys
from tickover.host.jwks_fetch import KeySets

URI = "https://login.test/keys?key=hidden"
FIRST, NEXT = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    return {**jwt.get_algorithm_by_name("ES256").to_jwk(key, as_dict=True), "kid": kid, **more}


def document(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def rule(**more: Any) -> JwtRule:
    return jwt_rule({"jwksUri": URI, "tokenLookup": "header:Authorization:Bearer", **more})


class Server:
    """A key server and a clock, both of which do as they are told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.answer: bytes | KeySetError = document(jwk(FIRST, "a"))
        self.asked = 0
        self.sets = KeySets(self.fetch, lambda: self.now)

    async def fetch(self, uri: str) -> bytes:
        assert uri == URI
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, KeySetError):
            raise self.answer
        return self.answer

    def check(self, key: Any, kid: str | None) -> Any:
        token = jwt.encode({"sub": "u"}, key, algorithm="ES256", headers={"kid": kid} if kid else None)
        head = Head("GET", "/", ((b"authorization", b"Bearer " + token.encode()),))
        return rule().check(head, 0.0, self.sets.known)

    def count(self, result: str) -> float:
        return float(self.sets.fetches.labels(result)._value.get())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_key_that_is_not_known_is_asked_for_once_by_all_who_wait() -> None:
    async def scenario() -> None:
        server = Server()
        assert server.check(FIRST, "a") == KeysWanted(URI)
        await asyncio.gather(*(server.sets.ask(URI, lambda: None) for _ in range(20)))
        assert (server.asked, server.count("fetched")) == (1, 1)
        assert server.check(FIRST, "a") == server.check(FIRST, None) == ()

    asyncio.run(scenario())


def test_unknown_kids_cause_one_fetch_a_minute() -> None:
    async def scenario() -> None:
        server = Server()
        await server.sets.ask(URI, lambda: None)
        server.now += 59
        refusal = server.check(NEXT, "b")
        assert isinstance(refusal, HttpError)
        assert refusal.status == 401
        server.now += 1
        assert server.check(NEXT, "b") == KeysWanted(URI)
        server.answer = document(jwk(NEXT, "b"))
        await server.sets.ask(URI, lambda: None)
        assert server.check(NEXT, "b") == ()
        assert isinstance(server.check(FIRST, "a"), HttpError)  # withdrawn

    asyncio.run(scenario())


def test_an_old_set_is_renewed_on_the_side_and_serves_on_if_that_fails() -> None:
    async def scenario() -> None:
        server = Server()
        await server.sets.ask(URI, lambda: None)
        server.answer = KeySetError("it answered 500")
        server.now += 600
        assert server.check(FIRST, "a") == ()
        await settle()
        assert (server.asked, server.count("failed")) == (2, 1)
        assert server.check(FIRST, "a") == ()
        await settle()
        assert server.asked == 2  # not at once again
        server.now += 60
        server.answer = document(jwk(NEXT, "b"))
        assert server.check(FIRST, "a") == ()
        await settle()
        assert isinstance(server.check(FIRST, "a"), HttpError)

    asyncio.run(scenario())


def test_without_any_key_the_answer_says_when_to_come_back() -> None:
    async def scenario() -> None:
        server = Server()
        server.answer = KeySetError("it answered 500")
        await server.sets.ask(URI, lambda: None)
        server.now += 3
        refusal = server.check(FIRST, "a")
        assert isinstance(refusal, HttpError)
        assert (refusal.status, refusal.retry_after_seconds) == (503, 2)
        assert "hidden" not in refusal.message
        server.now += 2
        assert server.check(FIRST, "a") == KeysWanted(URI)

    asyncio.run(scenario())


def test_of_a_fetched_set_only_what_verifies_here_counts() -> None:
    shared = {"kty": "oct", "alg": "HS256", "k": "a" * 43}
    found = fetched_keys(document(shared, {"kty": "new"}, jwk(NEXT, "e", use="enc"), jwk(FIRST, "a")))
    assert list(found) == ["a"]
    with pytest.raises(KeySetError, match="no key"):
        fetched_keys(document(shared))
    for text in (b"\xff", b"[]", b"{", b'{"keys": []}', b"[" * 100_000):
        with pytest.raises(KeySetError):
            fetched_keys(text)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("file:///keys", "https"),
        ("ftp://a.test/keys", "https"),
        ("a.test/keys", "https"),
        ("https:///keys", "no host"),
        ("https://user:secret@a.test/keys", "no user"),
        ("https://a.test:99999/keys", "must be a URL"),
        ("https://a.test/k\r\nx: y", "must be a URL"),
        ("https://a.test/" + "k" * 2048, "at most"),
        (5, "must be a URL"),
    ],
)
def test_urls_that_are_refused(uri: Any, said: str) -> None:
    with pytest.raises(KeySetError, match=said) as caught:
        checked_uri(uri)
    assert "secret" not in str(caught.value)


def test_names_of_the_url() -> None:
    assert rule().keys_uri == URI
    assert jwt_rule({"jwks_uri": URI, "tokenLookup": "query:t"}).keys_uri == URI

"""Key sets (JWKS): which public keys may sign tokens, and when a set behind a URL is asked for anew.

Owns: the parsing of key sets and the rules of their age. Promises: functions of (values, now); a key is
as strong as its algorithm wants; private parts and shared secrets from a URL are left aside. Never: fetches,
shows a key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import jwt

ALGORITHMS: Final = frozenset(
    {f"{family}{bits}" for family in ("RS", "PS", "ES", "HS") for bits in (256, 384, 512)} | {"EdDSA"}
)
MAX_KEYS: Final = 100
MAX_URI: Final = 2048
FRESH_SECONDS: Final = 600.0  # so old a fetched set is used without a look whether it has changed
ASK_AGAIN_SECONDS: Final = 60.0  # between two fetches of a set, whatever kids callers name
FIRST_AGAIN_SECONDS: Final = 5.0  # the same while no set was ever fetched
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})

Keys = Mapping[str, jwt.PyJWK]  # by their kid, "" for the one without


class KeySetError(ValueError):
    """A key set, or the URL of one, that this host cannot use."""


@dataclass(frozen=True, slots=True)
class KeysWanted:
    """Whether a caller is let in is known only after the set at this URL was asked for."""

    uri: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is known of the set at a URL. Times are monotonic seconds; None: never."""

    keys: Keys = field(default_factory=dict, repr=False)
    fetched_s: float | None = None
    tried_s: float | None = None

    def may_ask(self, now_s: float) -> bool:
        """Whether it is time enough since the last fetch for another."""
        return self.ask_in(now_s) <= 0

    def ask_in(self, now_s: float) -> float:
        """Seconds until the next fetch may be."""
        pause = FIRST_AGAIN_SECONDS if self.fetched_s is None else ASK_AGAIN_SECONDS
        return 0.0 if self.tried_s is None else self.tried_s + pause - now_s

    def is_due(self, now_s: float) -> bool:
        """Whether a set that still serves should be looked at behind the requests' backs."""
        return self.fetched_s is not None and now_s - self.fetched_s >= FRESH_SECONDS and self.may_ask(now_s)


def key_for(keys: Keys, kid: Any) -> jwt.PyJWK | None:
    """The key that a token's header names."""
    if kid:
        return keys.get(str(kid))
    return keys.get("") or (next(iter(keys.values())) if len(keys) == 1 else None)


def checked_uri(uri: Any) -> str:
    """The URL of a key set. Raises KeySetError."""
    if not isinstance(uri, str) or not uri.isascii() or not uri.isprintable() or " " in uri:
        raise KeySetError("jwksUri must be a URL such as https://login.example.com/keys")
    if len(uri) > MAX_URI:
        raise KeySetError(f"jwksUri must have at most {MAX_URI} characters")
    try:
        parts = urlsplit(uri)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise KeySetError("jwksUri must be a URL such as https://login.example.com/keys") from None
    if parts.scheme not in ("http", "https"):
        raise KeySetError(f"jwksUri must begin with https:// or http://, not {parts.scheme or 'without one'}")
    if not has_host:
        raise KeySetError("jwksUri names no host")
    if parts.username is not None or parts.password is not None:
        raise KeySetError("jwksUri must hold no user and password: a key set is public")
    return uri


def declared_keys(jwks: Any) -> Keys:
    """The keys of a set that was declared, all of which must be of use. Raises KeySetError."""
    keys: dict[str, jwt.PyJWK] = {}
    for index, raw in enumerate(_entries(jwks)):
        where = f"jwks.keys[{index}]"
        kid = str(raw.get("kid") or "") if isinstance(raw, dict) else ""
        key = _key(where, raw)
        if kid in keys:
            raise KeySetError(
                f"{where}.kid is given twice" if kid else f"{where} is the second without a kid"
            )
        keys[kid] = key
    return keys


def fetched_keys(text: bytes) -> Keys:
    """The keys of a set from a URL that can verify tokens here; others may be in it. Raises KeySetError."""
    try:
        entries = _entries(text.decode("utf-8"))
    except UnicodeDecodeError as err:
        raise KeySetError("jwks is not JSON") from err
    keys: dict[str, jwt.PyJWK] = {}
    for raw in entries:
        # What is published is no secret, and must not verify as one.
        if not isinstance(raw, dict) or raw.get("kty") == "oct" or raw.get("use") == "enc":
            continue
        try:
            keys.setdefault(str(raw.get("kid") or ""), _key("key", raw))
        except KeySetError:
            continue  # of a kind that is for others
    if not keys:
        raise KeySetError("the key set holds no key that this host can use")
    return keys


def _entries(jwks: Any) -> list[Any]:
    if isinstance(jwks, str):
        try:
            jwks = json.loads(jwks)
        except (ValueError, RecursionError) as err:
            raise KeySetError("jwks is not JSON") from err
    found = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_KEYS:
        raise KeySetError(f'jwks must be {{"keys": [...]}} with 1 to {MAX_KEYS} keys')
    return found


def _key(where: str, raw: Any) -> jwt.PyJWK:
    if not isinstance(raw, dict):
        raise KeySetError(f"{where} must be a JSON object")
    known = ", ".join(sorted(ALGORITHMS))
    if raw.get("alg") and raw["alg"] not in ALGORITHMS:
        raise KeySetError(f"{where}.alg must be one of {known}")
    public = raw if raw.get("kty") == "oct" else {k: v for k, v in raw.items() if k not in _PRIVATE}
    try:
        key = jwt.PyJWK(dict(public))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as err:
        raise KeySetError(f"{where} is not a key that this host can use ({type(err).__name__})") from None
    if key.algorithm_name not in ALGORITHMS:
        raise KeySetError(f"{where}.alg must be one of {known}")
    if weak := key.Algorithm.check_key_length(key.key):
        raise KeySetError(f"{where}: {weak}")
    return key

"""JSON Web Tokens of callers: where a token is looked for, which keys may have signed it, what of it is told.

Owns: the rule of authType jwt. Promises: a check is a function of (rule, head, now, fetched keys); a key
verifies its own algorithm only; a path whose meaning is not plain is never exempt. Never: fetches keys, shows
a token.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import jwt
from jwt.types import Options

from tickover.host.http import Head, Headers, HttpError
from tickover.host.jwks import Fetched, Keys, KeySetError, KeysWanted, checked_uri, declared_keys, key_for

Known = Callable[[str], tuple[Fetched, float]]  # what was fetched from a URL, and the time by its clock

_POSITIONS: Final = ("header", "cookie", "query")
# What says where a request ends, where it goes, or what ends at the next hop is not for claims to say.
_FRAMING: Final = frozenset(
    {
        *("connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
_NO_TIME_OF_ITS_OWN: Final[Options] = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_sub": False,
    "verify_jti": False,
}


class JwtRuleError(ValueError):
    """An authConfig of jwt that this host cannot check."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One place where a token may be."""

    position: str
    name: str
    prefix: str = ""

    def find(self, head: Head) -> str | None:
        if self.position == "header":
            value = (head.header(self.name.lower().encode()) or b"").decode("latin-1").strip()
            if not value.startswith(self.prefix):
                return None
            return value[len(self.prefix) :].strip() or None
        if self.position == "query":
            return dict(parse_qsl(head.query)).get(self.name)
        try:
            cookies = SimpleCookie((head.header(b"cookie") or b"").decode("latin-1"))
        except CookieError:
            return None
        return cookies[self.name].value or None if self.name in cookies else None


@dataclass(frozen=True, slots=True)
class JwtRule:
    """keys: those declared; with keys_uri they are fetched from there."""

    keys: Keys = field(repr=False)
    lookups: tuple[Lookup, ...]
    keys_uri: str = ""
    claims: tuple[tuple[str, str], ...] = ()  # (claim, header)
    whitelist: tuple[str, ...] = ()
    blacklist: tuple[str, ...] = ()

    def is_exempt(self, path: str) -> bool:
        """Whether a path needs no token."""
        plain = unquote(path)
        is_plain = "\\" not in plain and not {"..", "."} & set(plain.split("/")) and "//" not in plain
        if self.whitelist:
            return is_plain and path == plain and _fits(self.whitelist, plain)
        return bool(self.blacklist) and is_plain and not _fits(self.blacklist, plain)

    def check(self, head: Head, now_s: float, known: Known) -> HttpError | Headers | KeysWanted:
        """Why a call is refused, the headers that tell its claims, or the keys that have to be asked for."""
        if self.is_exempt(head.path):
            return _told(self.claims, {})
        token = next((found for place in self.lookups if (found := place.find(head))), None)
        if token is None:
            return _refused("the request carries no JWT where this URL looks for one")
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"), known)
            if not isinstance(key, jwt.PyJWK):
                return key
            claims = jwt.decode(token, key, algorithms=[key.algorithm_name], options=_NO_TIME_OF_ITS_OWN)
        except (jwt.InvalidTokenError, jwt.PyJWKError, ValueError, TypeError):
            return _refused("the JWT is not valid here")
        late = _late(claims, now_s)
        return _refused(late) if late else _told(self.claims, claims)

    def _key(self, kid: Any, known: Known) -> jwt.PyJWK | HttpError | KeysWanted:
        fetched, now_s = known(self.keys_uri) if self.keys_uri else (Fetched(self.keys), 0.0)
        key = key_for(fetched.keys, kid)
        if key is not None:
            return key
        if self.keys_uri and (kid or not fetched.keys) and fetched.may_ask(now_s):
            return KeysWanted(self.keys_uri)
        if self.keys_uri and not fetched.keys:
            why = "the keys that check the JWTs of this URL could not be fetched; see host.log"
            return HttpError(503, "ServiceUnavailable", why, math.ceil(fetched.ask_in(now_s)))
        return _refused("the JWT names a key that is not among the keys of this URL")


def jwt_rule(config: Mapping[str, Any]) -> JwtRule:
    """The rule of an authConfig, whose names may be written in any case. Raises JwtRuleError."""
    given = {name.lower(): value for name, value in config.items()}
    uri = given.get("jwksuri", given.get("jwks_uri"))
    if uri is not None and given.get("jwks") is not None:
        raise JwtRuleError("jwks and jwksUri exclude each other")
    white, black = _paths(given, "whitelist"), _paths(given, "blacklist")
    if white and black:
        raise JwtRuleError("whitelist and blacklist exclude each other")
    try:
        keys = declared_keys(given.get("jwks")) if uri is None else {}
        keys_uri = "" if uri is None else checked_uri(uri)
    except KeySetError as err:
        raise JwtRuleError(str(err)) from err
    return JwtRule(
        keys=keys,
        keys_uri=keys_uri,
        lookups=_lookups(given.get("tokenlookup")),
        claims=_claims(given.get("claimpassby")),
        whitelist=white,
        blacklist=black,
    )


def _lookups(text: Any) -> tuple[Lookup, ...]:
    if not isinstance(text, str) or not text.strip():
        raise JwtRuleError("tokenLookup is required, such as header:Authorization:Bearer")
    found = []
    for entry in text.split(","):
        position, _, rest = entry.strip(" ").partition(":")
        name, _, prefix = rest.partition(":")
        if position not in _POSITIONS or not name:
            known = ", ".join(_POSITIONS)
            raise JwtRuleError(
                f"tokenLookup {entry.strip()!r}: must be PLACE:NAME[:PREFIX] with one of {known}"
            )
        found.append(Lookup(position, name, prefix.strip()))
    return tuple(found)


def _claims(text: Any) -> tuple[tuple[str, str], ...]:
    found = []
    for entry in str(text or "").split(","):
        if not entry.strip():
            continue
        position, _, rest = entry.strip().partition(":")
        claim, _, name = rest.partition(":")
        if position != "header" or not claim or not _is_header_name(name):
            raise JwtRuleError(
                f"claimPassBy {entry.strip()!r}: this host passes claims as header:CLAIM:HEADER"
            )
        if name.lower().startswith("x-fc-") or name.lower() in _FRAMING:
            raise JwtRuleError(f"claimPassBy {entry.strip()!r}: this header is not for claims")
        found.append((claim, name))
    return tuple(found)


def _is_header_name(name: str) -> bool:
    return bool(name) and name.isascii() and name.replace("-", "").replace("_", "").isalnum()


def _paths(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    paths = given.get(name) or ()
    if isinstance(paths, str) or not all(
        isinstance(p, str) and p.startswith("/") and "*" not in p[:-1] for p in paths
    ):
        raise JwtRuleError(f"{name} must be a list of paths such as /a or /login/*")
    return tuple(paths)


def _fits(patterns: tuple[str, ...], path: str) -> bool:
    return any(path.startswith(p[:-1]) if p.endswith("*") else path == p for p in patterns)


def _late(claims: Mapping[str, Any], now_s: float) -> str:
    """Why a token does not count now, empty if it does."""
    expires, begins = claims.get("exp"), claims.get("nbf")
    try:
        if expires is not None and now_s >= float(expires):
            return "the JWT has expired"
        if begins is not None and now_s < float(begins):
            return "the JWT is not valid yet"
    except (TypeError, ValueError):
        return "the JWT is not valid here"
    return ""


def _told(wanted: tuple[tuple[str, str], ...], claims: Mapping[str, Any]) -> Headers:
    """A claim as a header; one that is absent is an empty header, so that nobody else can give it."""
    headers = []
    for claim, name in wanted:
        value = claims.get(claim, "")
        text = value if isinstance(value, str) else json.dumps(value)
        safe = "".join(c if c.isprintable() else " " for c in text).encode("utf-8")
        headers.append((name.lower().encode(), safe))
    return tuple(headers)


def _refused(why: str) -> HttpError:
    return HttpError(401, "AccessDenied", why)

"""JSON Web Tokens of callers: where a token is looked for, which keys may have signed it, what of it is told.

Owns: the rule of authType jwt. Promises: a check is a function of (rule, head, now); a key verifies its own
algorithm only; a path whose meaning is not plain is never exempt. Never: fetches keys, shows a token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import jwt
from jwt.types import Options

from tickover.host.http import Head, Headers, HttpError

ALGORITHMS: Final = frozenset(
    {f"{family}{bits}" for family in ("RS", "PS", "ES", "HS") for bits in (256, 384, 512)} | {"EdDSA"}
)
MAX_KEYS: Final = 100
_POSITIONS: Final = ("header", "cookie", "query")
# What says where a request ends, where it goes, or what ends at the next hop is not for claims to say.
_FRAMING: Final = frozenset(
    {
        *("connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
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
    """keys: by their kid, "" for the one without."""

    keys: Mapping[str, jwt.PyJWK] = field(repr=False)
    lookups: tuple[Lookup, ...]
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

    def check(self, head: Head, now_s: float) -> HttpError | Headers:
        """Why a call is refused, or the headers that tell its claims."""
        if self.is_exempt(head.path):
            return _told(self.claims, {})
        token = next((found for place in self.lookups if (found := place.find(head))), None)
        if token is None:
            return _refused("the request carries no JWT where this URL looks for one")
        try:
            key = self._key(jwt.get_unverified_header(token))
            if key is None:
                return _refused("the JWT names a key that is not among the keys of this URL")
            claims = jwt.decode(token, key, algorithms=[key.algorithm_name], options=_NO_TIME_OF_ITS_OWN)
        except (jwt.InvalidTokenError, jwt.PyJWKError, ValueError, TypeError):
            return _refused("the JWT is not valid here")
        late = _late(claims, now_s)
        return _refused(late) if late else _told(self.claims, claims)

    def _key(self, token_header: Mapping[str, Any]) -> jwt.PyJWK | None:
        kid = token_header.get("kid")
        if kid:
            return self.keys.get(str(kid))
        return self.keys.get("") or (next(iter(self.keys.values())) if len(self.keys) == 1 else None)


def jwt_rule(config: Mapping[str, Any]) -> JwtRule:
    """The rule of an authConfig, whose names may be written in any case. Raises JwtRuleError."""
    given = {name.lower(): value for name, value in config.items()}
    if "jwksuri" in given or "jwks_uri" in given:
        raise JwtRuleError("jwks by URL is not supported on this host; give the key set itself as jwks")
    white, black = _paths(given, "whitelist"), _paths(given, "blacklist")
    if white and black:
        raise JwtRuleError("whitelist and blacklist exclude each other")
    return JwtRule(
        keys=_keys(given.get("jwks")),
        lookups=_lookups(given.get("tokenlookup")),
        claims=_claims(given.get("claimpassby")),
        whitelist=white,
        blacklist=black,
    )


def _keys(jwks: Any) -> dict[str, jwt.PyJWK]:
    if isinstance(jwks, str):
        try:
            jwks = json.loads(jwks)
        except ValueError as err:
            raise JwtRuleError("jwks is not JSON") from err
    found = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_KEYS:
        raise JwtRuleError(f'jwks must be {{"keys": [...]}} with 1 to {MAX_KEYS} keys')
    keys: dict[str, jwt.PyJWK] = {}
    for index, raw in enumerate(found):
        where = f"jwks.keys[{index}]"
        if not isinstance(raw, dict):
            raise JwtRuleError(f"{where} must be a JSON object")
        kid = str(raw.get("kid") or "")
        if kid in keys:
            raise JwtRuleError(
                f"{where}.kid is given twice" if kid else f"{where} is the second without a kid"
            )
        keys[kid] = _key(where, raw)
    return keys


def _key(where: str, raw: Mapping[str, Any]) -> jwt.PyJWK:
    known = ", ".join(sorted(ALGORITHMS))
    if raw.get("alg") and raw["alg"] not in ALGORITHMS:
        raise JwtRuleError(f"{where}.alg must be one of {known}")
    public = raw if raw.get("kty") == "oct" else {k: v for k, v in raw.items() if k not in _PRIVATE}
    try:
        key = jwt.PyJWK(dict(public))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as err:
        raise JwtRuleError(f"{where} is not a key that this host can use ({type(err).__name__})") from None
    if key.algorithm_name not in ALGORITHMS:
        raise JwtRuleError(f"{where}.alg must be one of {known}")
    if weak := key.Algorithm.check_key_length(key.key):
        raise JwtRuleError(f"{where}: {weak}")
    return key


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

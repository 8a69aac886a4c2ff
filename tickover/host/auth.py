"""Who may call: the rules of triggers and domains, and the host's own credentials file.

Owns: credentials.json and the check of a caller. Promises: secrets are compared in constant time and
appear in no text form. Never: logs, decides a route.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, assert_never

from tickover.errors import Exit, TickoverError
from tickover.host.auth_jwt import JwtRule, JwtRuleError, Known, jwt_rule
from tickover.host.http import Head, Headers, HttpError
from tickover.host.jwks import KeysWanted

SIGNATURE_SCHEME: Final = b"ACS3-HMAC-SHA256"


class AuthKind(Enum):
    """The ways of authentication that this host can check."""

    ANONYMOUS = "anonymous"
    BASIC = "basic"
    BEARER = "bearer"
    JWT = "jwt"
    FUNCTION = "function"  # signed with the account's key, as the API is


@dataclass(frozen=True, slots=True)
class AuthRule:
    """digests: of the bearer tokens, or of ``user:password``, that let a call in."""

    kind: AuthKind
    digests: tuple[bytes, ...] = field(default=(), repr=False)
    jwt: JwtRule | None = field(default=None, repr=False)


class AuthRuleError(ValueError):
    """An authType or authConfig that this host cannot check."""


def auth_rule(auth_type: str | None, config: Any) -> AuthRule:
    """The rule in FC's words, or AuthRuleError. No type means signed calls, as FC has it."""
    try:
        kind = AuthKind(auth_type or "function")
    except ValueError:
        known = ", ".join(k.value for k in AuthKind)
        raise AuthRuleError(
            f"authType '{auth_type}' is not supported on this host (it knows {known})"
        ) from None
    match kind:
        case AuthKind.BEARER:
            return AuthRule(kind, _bearer_digests(_as_object(config)))
        case AuthKind.BASIC:
            return AuthRule(kind, _basic_digests(_as_object(config)))
        case AuthKind.JWT:
            try:
                return AuthRule(kind, jwt=jwt_rule(_as_object(config)))
            except JwtRuleError as err:
                raise AuthRuleError(f"authType jwt: {err}") from err
        case AuthKind.ANONYMOUS | AuthKind.FUNCTION:
            return AuthRule(kind)
        case _:
            assert_never(kind)


def _bearer_digests(config: dict[str, Any]) -> tuple[bytes, ...]:
    tokens = config.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        raise AuthRuleError('authType bearer needs authConfig {"tokens": [{"token": "..."}]}')
    digests = []
    for entry in tokens:
        token = entry.get("token") if isinstance(entry, dict) else None
        if not isinstance(token, str) or not token:
            raise AuthRuleError("every entry of authConfig.tokens needs a token that is not empty")
        if entry.get("enable") is False:
            continue
        digests.append(_digest(token.encode()))
    return tuple(digests)


def _basic_digests(config: dict[str, Any]) -> tuple[bytes, ...]:
    users = config.get("users")
    if not isinstance(users, list) or not users:
        raise AuthRuleError(
            'authType basic needs authConfig {"users": [{"username": "...", "password": "..."}]}'
        )
    digests = []
    for entry in users:
        known = entry if isinstance(entry, dict) else {}
        name, password = known.get("username"), known.get("password")
        if not isinstance(name, str) or not name or ":" in name:
            raise AuthRuleError("every entry of authConfig.users needs a username without a colon")
        if not isinstance(password, str) or not password:
            raise AuthRuleError("every entry of authConfig.users needs a password that is not empty")
        digests.append(_digest(f"{name}:{password}".encode()))
    return tuple(digests)


def trigger_rule(trigger_config: Any) -> tuple[AuthRule, dict[str, Any]]:
    """The rule of an HTTP trigger and its parsed config (a JSON string on the wire)."""
    config = _as_object(trigger_config)
    return auth_rule(config.get("authType"), config.get("authConfig")), config


def domain_rule(auth_config: dict[str, Any] | None) -> AuthRule | None:
    """A domain's own rule; None leaves it to the trigger."""
    if not auth_config or auth_config.get("authType") in (None, "", "anonymous"):
        return None
    return auth_rule(auth_config["authType"], auth_config.get("authInfo"))


def check_caller(rule: AuthRule, head: Head, now_s: float, known: Known) -> HttpError | Headers | KeysWanted:
    """The part of a rule that needs no body: why a call is refused, or what the function is told of it.

    known: the key sets that were fetched so far.
    """
    authorization = head.header(b"authorization")
    match rule.kind:
        case AuthKind.ANONYMOUS:
            return ()
        case AuthKind.BEARER:
            return check_bearer(rule, authorization) or ()
        case AuthKind.BASIC:
            return check_basic(rule, authorization) or ()
        case AuthKind.JWT:
            return _jwt_of(rule).check(head, now_s, known)
        case AuthKind.FUNCTION:
            if (authorization or b"").startswith(SIGNATURE_SCHEME):
                return ()
            return HttpError(403, "AccessDenied", "this URL needs a request signed with ACS3-HMAC-SHA256")
        case _:
            assert_never(rule.kind)


def check_bearer(rule: AuthRule, authorization: bytes | None) -> HttpError | None:
    """Why a bearer call is refused, or None."""
    scheme, _, token = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        return HttpError(401, "AccessDenied", "this URL needs the header Authorization: Bearer TOKEN")
    if not _is_among(token.strip(), rule.digests):
        return HttpError(403, "AccessDenied", "the bearer token is not accepted here")
    return None


def check_basic(rule: AuthRule, authorization: bytes | None) -> HttpError | None:
    """Why a call with user and password is refused, or None."""
    scheme, _, told = (authorization or b"").partition(b" ")
    try:
        given = base64.b64decode(told.strip(), validate=True) if scheme.lower() == b"basic" else b""
    except binascii.Error:
        given = b""
    if not given or not _is_among(given, rule.digests):
        asks = ((b"www-authenticate", b'Basic realm="tickover", charset="UTF-8"'),)
        return HttpError(
            401, "AccessDenied", "this URL needs a user and password that it knows", headers=asks
        )
    return None


def _jwt_of(rule: AuthRule) -> JwtRule:
    if rule.jwt is None:
        raise AssertionError("a rule of kind jwt has keys")
    return rule.jwt


def _is_among(given: bytes, digests: tuple[bytes, ...]) -> bool:
    """Compared with every one in constant time, so that the time says nothing about which."""
    digest = _digest(given)
    matches = [hmac.compare_digest(digest, known) for known in digests]
    return any(matches)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _as_object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value) if value else {}
        except json.JSONDecodeError as err:
            raise AuthRuleError(f"is not JSON: {err}") from err
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AuthRuleError("must be a JSON object")
    return value


@dataclass(frozen=True, slots=True)
class Credentials:
    """The account of this host."""

    account_id: str
    access_key_id: str
    access_key_secret: str = field(repr=False)
    region: str
    admin_token: str = field(repr=False)

    def secret_for(self, access_key_id: str) -> str | None:
        same = hmac.compare_digest(access_key_id.encode(), self.access_key_id.encode())
        return self.access_key_secret if same else None

    def is_admin(self, authorization: bytes | None) -> bool:
        expected = b"Bearer " + self.admin_token.encode()
        return hmac.compare_digest(authorization or b"", expected)


def load_credentials(path: Path) -> Credentials:
    """Read credentials.json. Raises TickoverError when it cannot be used; FileNotFoundError when absent."""
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
        return Credentials(**{name: str(found[name]) for name in Credentials.__dataclass_fields__})
    except (json.JSONDecodeError, KeyError, TypeError) as err:
        raise TickoverError(
            "credentials-broken",
            "Host credentials cannot be read",
            f"{path} is not what the host wrote ({type(err).__name__}).",
            hint=f"rm {path}    # the next start of the host makes new ones",
            exit_code=Exit.AUTHENTICATION,
        ) from err


def load_or_create_credentials(path: Path) -> Credentials:
    """The host's credentials, made once, readable by their owner only."""
    try:
        return load_credentials(path)
    except FileNotFoundError:
        pass  # the first start
    made = Credentials(
        account_id="1" + "".join(secrets.choice("0123456789") for _ in range(15)),
        access_key_id="LTAI" + secrets.token_hex(10),
        access_key_secret=secrets.token_urlsafe(32),
        region="local",
        admin_token=secrets.token_urlsafe(32),
    )
    body = json.dumps({name: getattr(made, name) for name in Credentials.__dataclass_fields__}, indent=2)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(body + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
    return made

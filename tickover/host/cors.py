"""What a browser may do from another origin, by FC's corsConfig.

Owns: the rule of a domain or trigger. Promises: pure; an origin is told only if it is allowed, and
never ``*`` together with credentials. Never: authenticates (a browser sends no credentials with a preflight).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tickover.fc.trigger import METHODS
from tickover.host.http import Head, Headers, HttpError, Response

_OWN: Final = b"access-control-"
_LISTS: Final = ("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders")
_PRINTABLE: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+")


class CorsRuleError(ValueError):
    """A corsConfig that could not be told in headers."""


@dataclass(frozen=True, slots=True)
class CorsRule:
    origins: tuple[str, ...]
    methods: tuple[str, ...]
    allow_headers: tuple[str, ...]
    expose_headers: tuple[str, ...]
    credentials: bool
    max_age_seconds: int | None

    def headers(self, head: Head) -> Headers:
        """What every answer to this request carries, an error too; nothing but Vary for other origins."""
        origin = _text(head, b"origin")
        if not origin or not self._allows(origin):
            return ((b"vary", b"Origin"),)
        is_open = "*" in self.origins and not self.credentials
        found = [(b"access-control-allow-origin", b"*" if is_open else origin.encode("latin-1"))]
        if not is_open:
            found.append((b"vary", b"Origin"))
        if self.credentials:
            found.append((b"access-control-allow-credentials", b"true"))
        if self.expose_headers:
            found.append((b"access-control-expose-headers", ", ".join(self.expose_headers).encode()))
        return tuple(found)

    def preflight(self, head: Head) -> Response | HttpError | None:
        """The answer to a preflight; None if the request is none."""
        method = _text(head, b"access-control-request-method")
        if head.method != "OPTIONS" or not method or not _text(head, b"origin"):
            return None
        if not self._allows(_text(head, b"origin")):
            return HttpError(403, "AccessDenied", "the origin is not among the allowOrigins of this URL")
        if method not in self.methods:
            return HttpError(403, "AccessDenied", "the method is not among the allowMethods of this URL")
        found = [(b"access-control-allow-methods", ", ".join(self.methods).encode())]
        asked = _text(head, b"access-control-request-headers")
        # A star in the answer would not count with credentials, nor for Authorization.
        allowed = asked if "*" in self.allow_headers else ", ".join(self.allow_headers)
        if allowed:
            found.append((b"access-control-allow-headers", allowed.encode("latin-1")))
        if self.max_age_seconds is not None:
            found.append((b"access-control-max-age", b"%d" % self.max_age_seconds))
        return Response(204, headers=tuple(found))

    def _allows(self, origin: str) -> bool:
        return any(_fits(allowed, origin) for allowed in self.origins)


def cors_rule(config: Mapping[str, Any] | None) -> CorsRule | None:
    """The rule of a corsConfig, None without one. Raises CorsRuleError."""
    if not config:
        return None
    for name in _LISTS:
        if not all(isinstance(text, str) and _PRINTABLE.fullmatch(text) for text in config.get(name) or ()):
            raise CorsRuleError(
                f"corsConfig.{name}: must be texts of printable ASCII without blanks and commas"
            )
    return CorsRule(
        origins=tuple(config.get("allowOrigins") or ("*",)),
        methods=tuple(config.get("allowMethods") or METHODS),
        allow_headers=tuple(config.get("allowHeaders") or ()),
        expose_headers=tuple(config.get("exposeHeaders") or ()),
        credentials=bool(config.get("allowCredentials")),
        max_age_seconds=config.get("maxAge"),
    )


def without_cors(headers: Headers) -> Headers:
    """An instance's headers where the host says what a browser may do."""
    return tuple(pair for pair in headers if not pair[0].lower().startswith(_OWN))


def _fits(allowed: str, origin: str) -> bool:
    """``*`` stands for any text, once: https://*.example.com."""
    start, star, end = allowed.partition("*")
    if not star:
        return allowed == origin
    is_long = len(origin) >= len(start) + len(end)
    return is_long and origin.startswith(start) and origin.endswith(end)


def _text(head: Head, name: bytes) -> str:
    return (head.header(name) or b"").decode("latin-1")

"""The signature of API calls: ACS3-HMAC-SHA256, as Alibaba's clients make it.

Owns: the canonical form of a request and the check of its signature. Promises: what is accepted was signed
with the secret of the key that is returned, over method, path, query, the signed headers and the whole
body, at most 15 minutes from now; compared in constant time; no secret in an error. Never: keeps nonces, so
a replay within those minutes is not detected.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, quote

from tickover.fc.errors import fc_error

ALGORITHM: Final = "ACS3-HMAC-SHA256"
MAX_SKEW: Final = timedelta(minutes=15)
# Without these under the signature, a body or an old request could be put under somebody else's.
_MUST_BE_SIGNED: Final = ("host", "x-acs-content-sha256", "x-acs-date")
_AUTHORIZATION: Final = re.compile(
    rf"{ALGORITHM} Credential=([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-fA-F]{{64}})"
)
_DATE: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class _Authorization:
    access_key_id: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)


def verify(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    secret_for: Callable[[str], str | None],
    *,
    now: datetime | None = None,
) -> str:
    """The access key id that signed the request, or FcError.

    path, query: as they came over the wire, still percent-encoded; query without the ``?``.
    secret_for: the secret of an access key id, None for one that does not exist.
    now: an aware moment; the clock of this machine if left out.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}
    authorization = _authorization(given)
    _check_date(given, now or datetime.now(UTC))
    secret = secret_for(authorization.access_key_id)
    if secret is None:
        raise fc_error(
            "InvalidAccessKeyID", f"The access key id {authorization.access_key_id} does not exist."
        )
    content = hashlib.sha256(body).hexdigest()
    if not hmac.compare_digest(given["x-acs-content-sha256"].lower().encode(), content.encode()):
        raise fc_error("SignatureNotMatch", "The body is not the one that x-acs-content-sha256 was made of.")
    canonical = canonical_request(method, path, query, given, authorization.signed_headers, content)
    if not hmac.compare_digest(sign(secret, canonical), authorization.signature.lower()):
        raise fc_error(
            "SignatureNotMatch", "The signature does not match; check the access key secret and the method."
        )
    return authorization.access_key_id


def canonical_request(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    signed_headers: tuple[str, ...],
    content_sha256: str,
) -> str:
    """The text that is signed. headers: lower-case names."""
    pairs = sorted(parse_qsl(query, keep_blank_values=True), key=lambda pair: pair[0])
    canonical_query = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in pairs)
    lines = "".join(f"{name}:{headers[name]}\n" for name in signed_headers)
    return "\n".join((method, path or "/", canonical_query, lines, ";".join(signed_headers), content_sha256))


def sign(secret: str, canonical: str) -> str:
    """The signature of a canonical request, in hexadecimal."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return hmac.new(secret.encode(), f"{ALGORITHM}\n{digest}".encode(), hashlib.sha256).hexdigest()


def _authorization(headers: Mapping[str, str]) -> _Authorization:
    value = headers.get("authorization")
    if not value:
        raise fc_error("MissingRequiredHeader", "The header Authorization is missing; sign the request.")
    parts = _AUTHORIZATION.fullmatch(value)
    if parts is None:
        raise fc_error(
            "InvalidArgument",
            f"The header Authorization is not {ALGORITHM} Credential=...,SignedHeaders=...,Signature=...",
        )
    signed = tuple(parts[2].lower().split(";"))
    for name in _MUST_BE_SIGNED:
        if name not in headers:
            raise fc_error("MissingRequiredHeader", f"The header {name} is missing.")
        if name not in signed:
            raise fc_error("SignatureNotMatch", f"The header {name} is not under the signature.")
    absent = [name for name in signed if name not in headers]
    if absent:
        raise fc_error("SignatureNotMatch", f"The signed header {absent[0]} did not arrive.")
    return _Authorization(parts[1], signed, parts[3])


def _check_date(headers: Mapping[str, str], now: datetime) -> None:
    text = headers["x-acs-date"]
    try:
        made = datetime.strptime(text, _DATE).replace(tzinfo=UTC)
    except ValueError as error:
        raise fc_error(
            "InvalidArgument", "The header x-acs-date is not of the form yyyy-mm-ddThh:mm:ssZ."
        ) from error
    if abs(now - made) > MAX_SKEW:
        minutes = int(MAX_SKEW / timedelta(minutes=1))
        raise fc_error(
            "RequestTimeTooSkewed",
            f"The request was made at {text}, more than {minutes} minutes from now; check both clocks.",
        )

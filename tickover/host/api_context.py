"""What the handlers of the FC API work with.

Owns: the request as a handler sees it, and the small forms all answers share (times, ARNs, pages).
Promises: values only. Never: knows one object type.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tickover.host.auth import Credentials
from tickover.host.http import HttpError
from tickover.host.looks import Looks
from tickover.host.model import Pool
from tickover.host.registry import Missing, ObjectRegistry
from tickover.host.session_desk import SessionDesk
from tickover.host.store import Kind, Row

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

NOT_FOUND_CODES = {
    Kind.FUNCTION: "FunctionNotFound",
    Kind.VERSION: "VersionNotFound",
    Kind.ALIAS: "AliasNotFound",
    Kind.TRIGGER: "TriggerNotFound",
    Kind.DOMAIN: "DomainNameNotFound",
    Kind.PROVISION: "ProvisionConfigNotFound",
    Kind.CONCURRENCY: "ConcurrencyConfigNotFound",
}


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The host, as the API's handlers may use it. nas: NAS name to its folder on this machine."""

    registry: ObjectRegistry
    pool: Pool
    credentials: Credentials
    nas: Mapping[str, Path]
    base_url: Callable[[], str]
    now_ns: Callable[[], int]
    changed: Callable[[], None]  # something declared has changed
    sessions: SessionDesk
    has_acme: bool = False  # an ACME server to ask for certificates
    looks: Looks = field(default_factory=Looks)

    def arn(self, function_name: str, qualifier: str = "") -> str:
        who = self.credentials
        tail = f"/{qualifier}" if qualifier else ""
        return f"acs:fc:{who.region}:{who.account_id}:functions/{function_name}{tail}"


@dataclass(frozen=True, slots=True)
class Call:
    """One API call after routing: names from the path, query and JSON body."""

    names: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def function_name(self) -> str:
        return self.names["function"]

    @property
    def qualifier(self) -> str:
        return self.query.get("qualifier") or "LATEST"


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request; empty for none."""
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError as err:
        raise HttpError(400, "InvalidArgument", f"the request body is not JSON: {err}") from err
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HttpError(400, "InvalidArgument", "the request body must be a JSON object")
    return value


def parse_query(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def invalid(*messages: str) -> HttpError:
    return HttpError(400, "InvalidArgument", "; ".join(messages))


def not_supported(what: str) -> HttpError:
    """FC has it, this host does not."""
    return HttpError(400, "NotSupported", f"{what} is not supported by this host")


def missing(error: Missing, context: str = "") -> HttpError:
    where = f" of {context}" if context else ""
    return HttpError(
        404, NOT_FOUND_CODES[error.kind], f"{error.kind.value} '{error.name}'{where} does not exist"
    )


def wire_time(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def times(row: Row) -> dict[str, str]:
    return {"createdTime": wire_time(row.created_ns), "lastModifiedTime": wire_time(row.modified_ns)}


def page(
    call: Call, rows: tuple[Row, ...], name_of: Callable[[Row], str]
) -> tuple[tuple[Row, ...], str | None]:
    """The rows of one page after prefix, limit and nextToken, and the token of the next."""
    prefix = call.query.get("prefix", "")
    limit = _limit(call.query.get("limit", ""))
    after = _decode_token(call.query["nextToken"]) if call.query.get("nextToken") else None
    found = [r for r in rows if name_of(r).startswith(prefix)]
    start = 0
    if after is not None:
        start = next((i for i, r in enumerate(found) if [r.parent, r.name] > after), len(found))
    chosen = found[start : start + limit]
    more = start + limit < len(found)
    return tuple(chosen), (_encode_token(chosen[-1]) if more and chosen else None)


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise invalid(f"limit: must be 1 to {MAX_LIMIT}, not {text!r}")
    return int(text)


def _encode_token(row: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.parent, row.name]).encode()).decode()


def _decode_token(token: str) -> list[str]:
    try:
        value = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError) as err:
        raise invalid("nextToken: not a token of this host") from err
    if not isinstance(value, list) or len(value) != 2:
        raise invalid("nextToken: not a token of this host")
    return [str(v) for v in value]

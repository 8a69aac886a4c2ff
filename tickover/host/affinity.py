"""Session affinity of a function: how a request names its session, and how an answer tells it.

Owns: the reading of sessionAffinity and sessionAffinityConfig, and of headers, cookies and queries for them.
Promises: pure functions of (rule, head). Never: keeps a session, picks an instance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from tickover.fc.function import Function
from tickover.host.http import Head, Headers, HttpError
from tickover.host.sessions import Terms

COOKIE: Final = "x-fc-cookie-session-id"
COOKIE_SECONDS: Final = 21600
MCP_HEADER: Final = b"mcp-session-id"
DEFAULT_TTL: Final = 21600
DEFAULT_IDLE: Final = 1800
DEFAULT_SLOTS: Final = 20
DEFAULT_TIMEOUT: Final = 3
SESSION_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)
_MCP_ID: Final = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
_SSE_NAMES: Final = ("session_id", "sessionId")  # of the official MCP servers
MAX_FIRST_EVENT: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Affinity:
    """A function's session affinity. minted_inside: the server in the instance chooses the ids."""

    kind: str
    slots: int
    terms: Terms
    header: bytes = b""
    sse_path: str = ""

    @property
    def minted_inside(self) -> bool:
        return self.kind in ("MCP_SSE", "MCP_STREAMABLE")


@dataclass(frozen=True, slots=True)
class Named:
    """What a request says. session_id empty: it names none; opens: then a session begins with it."""

    session_id: str = ""
    opens: bool = False
    ends: bool = False  # it asks for the end of its session


def has_affinity(spec: Mapping[str, Any]) -> bool:
    """Of a function or version as it is declared."""
    return (spec.get("sessionAffinity") or "NONE") != "NONE"


def affinity_of(spec: Function) -> Affinity | None:
    """The affinity of a function that was accepted, or None."""
    kind = spec.session_affinity or "NONE"
    if kind == "NONE":
        return None
    config: Mapping[str, Any] = json.loads(spec.session_affinity_config or "{}")
    slots = config.get("sessionConcurrencyPerInstance") or DEFAULT_SLOTS
    if spec.instance_isolation_mode == "SESSION_EXCLUSIVE":
        slots = 1
    if kind == "MCP_SSE":
        terms = Terms(kind, spec.timeout or DEFAULT_TIMEOUT, 0)
        return Affinity(kind, slots, terms, sse_path=config.get("sseEndpointPath") or "/sse")
    idle = config.get("sessionIdleTimeoutInSeconds")
    terms = Terms(
        kind,
        config.get("sessionTTLInSeconds") or DEFAULT_TTL,
        DEFAULT_IDLE if idle is None else idle,
        may_reuse=not config.get("disableSessionIdReuse", False),
    )
    header = str(config.get("affinityHeaderFieldName", "")).lower().encode("latin-1")
    return Affinity(kind, slots, terms, MCP_HEADER if kind == "MCP_STREAMABLE" else header)


def named(affinity: Affinity, head: Head, target: str) -> Named | HttpError:
    """Which session a request belongs to. target: what the instance gets."""
    match affinity.kind:
        case "GENERATED_COOKIE":
            return Named(_cookie(head), opens=True)
        case "HEADER_FIELD":
            return _by_header(affinity, head)
        case "MCP_STREAMABLE":
            return _mcp_streamable(head)
        case _:
            return _mcp_sse(affinity, head, target)


def _by_header(affinity: Affinity, head: Head) -> Named | HttpError:
    value = head.header(affinity.header)
    if value is None:
        return Named(opens=True)
    text = value.decode("latin-1")
    if SESSION_ID.fullmatch(text) is None:
        name = affinity.header.decode()
        return HttpError(
            400,
            "InvalidArgument",
            f"header {name}: a session id is 1 to 64 letters, digits, _ and -, and does not begin with -",
        )
    return Named(text, opens=True)


def _cookie(head: Head) -> str:
    """A cookie that is not one of ours counts as none: a browser could not mend it."""
    for key, value in head.headers:
        if key != b"cookie":
            continue
        try:
            morsel = SimpleCookie(value.decode("latin-1")).get(COOKIE)
        except CookieError:
            continue
        if morsel is not None and SESSION_ID.fullmatch(morsel.value):
            return str(morsel.value)
    return ""


def _mcp_streamable(head: Head) -> Named | HttpError:
    value = head.header(MCP_HEADER)
    if value is None:
        return Named(opens=head.method == "POST")
    text = value.decode("latin-1")
    if _MCP_ID.fullmatch(text) is None:
        return HttpError(
            400, "InvalidArgument", "header mcp-session-id: must be 1 to 256 visible ASCII characters"
        )
    return Named(text, ends=head.method == "DELETE")


def _mcp_sse(affinity: Affinity, head: Head, target: str) -> Named | HttpError:
    path, _, query = target.partition("?")
    if path == affinity.sse_path and head.method == "GET":
        if query:
            return HttpError(
                400, "InvalidArgument", f"the first request of an MCP SSE session, {path}, takes no query"
            )
        return Named(opens=True)
    return Named(_from_query(query))


def _from_query(query: str) -> str:
    values = dict(parse_qsl(query))
    found = next((values[name] for name in _SSE_NAMES if name in values), "")
    return found if _MCP_ID.fullmatch(found) else ""


def expired(session_id: str) -> HttpError:
    return HttpError(
        401,
        "SessionExpired",
        f"session '{session_id[:64]}' has expired or is not known; begin a new one without its id",
    )


def telling(affinity: Affinity, session_id: str) -> Headers:
    """The header of an answer that tells a caller its new session's id."""
    match affinity.kind:
        case "GENERATED_COOKIE":
            return ((b"set-cookie", f"{COOKIE}={session_id}; Max-Age={COOKIE_SECONDS}".encode()),)
        case "HEADER_FIELD":
            return ((affinity.header, session_id.encode()),)
        case _:
            return ()


def id_in_answer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that an MCP server gives with its answer to `initialize`; empty without one."""
    for key, value in headers:
        if key.lower() == MCP_HEADER:
            text = value.decode("latin-1").strip()
            return text if _MCP_ID.fullmatch(text) else ""
    return ""


def id_in_first_event(data: bytes) -> str | None:
    """The id in the endpoint event that begins an MCP SSE stream; empty: it has none; None: not yet whole."""
    text = data.replace(b"\r\n", b"\n")
    end = text.find(b"\n\n")
    if end < 0:
        return None if len(data) < MAX_FIRST_EVENT else ""
    for line in text[:end].split(b"\n"):
        if line.startswith(b"data:"):
            return _from_query(urlsplit(line[5:].strip().decode("latin-1")).query)
    return ""

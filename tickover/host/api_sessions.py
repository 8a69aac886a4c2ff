"""Sessions of a function, as the FC API has them.

Owns: those handlers. Promises: only cookie and header sessions are offered, as on FC; what a session cannot
have on this host is refused. Never: keeps a session (`session_desk` does).
"""

from __future__ import annotations

from typing import Any, Final

from tickover.host.affinity import SESSION_ID, Affinity
from tickover.host.api_context import ApiContext, Call, invalid, not_supported, wire_time
from tickover.host.api_functions import NO_CONTENT, listed
from tickover.host.http import HttpError, Response, json_response
from tickover.host.instance import PoolKey
from tickover.host.model import Refused
from tickover.host.session_desk import begin
from tickover.host.sessions import Session, SessionKey, Terms

_KNOWN: Final = frozenset(
    {"sessionId", "sessionTTLInSeconds", "sessionIdleTimeoutInSeconds", "disableSessionIdReuse"}
)
_MAX_SECONDS: Final = 21600
_DEFAULT_LIMIT: Final = 20
_MAX_LIMIT: Final = 100
_OFFERED: Final = frozenset({"GENERATED_COOKIE", "HEADER_FIELD"})


def session_out(session: Session, now_ns: int) -> dict[str, Any]:
    """A session as GetSession shows it."""
    return {
        "sessionId": session.key.session_id,
        "functionName": session.key.pool.function_name,
        "qualifier": session.key.pool.qualifier,
        "containerId": session.instance_id,
        "sessionAffinityType": session.terms.kind,
        "sessionStatus": "Active" if session.lives(now_ns) else "Expired",
        "sessionTTLInSeconds": session.terms.ttl_seconds,
        "sessionIdleTimeoutInSeconds": session.terms.idle_seconds,
        "disableSessionIdReuse": not session.terms.may_reuse,
        "createdTime": wire_time(session.created_ns),
        "lastModifiedTime": wire_time(session.modified_ns),
    }


def _pool_of(context: ApiContext, call: Call) -> tuple[PoolKey, Affinity]:
    resolved = context.registry.resolve(call.function_name, call.qualifier)
    key = PoolKey(resolved.function_name, resolved.qualifier)
    affinity = context.sessions.affinity(key, resolved.spec)
    if affinity is None or affinity.kind not in _OFFERED:
        kind = affinity.kind if affinity else "NONE"
        raise invalid(
            f"function '{key.function_name}' has sessionAffinity {kind}: sessions are managed with "
            "GENERATED_COOKIE and HEADER_FIELD only"
        )
    living = frozenset(view.instance_id for view in context.pool.instances(key.function_name))
    context.sessions.table.sweep(key, living, context.now_ns())
    return key, affinity


def _found(context: ApiContext, key: PoolKey, session_id: str) -> Session:
    session = context.sessions.table.find(SessionKey(key, session_id), context.now_ns())
    if session is None or not session.told:
        raise HttpError(
            404, "SessionNotFound", f"session '{session_id[:64]}' of {key} does not exist or has expired"
        )
    return session


def _seconds(body: dict[str, Any], name: str, lowest: int, default: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= _MAX_SECONDS:
        raise invalid(f"{name}: must be {lowest} to {_MAX_SECONDS} seconds, not {value!r}")
    return value


def _terms(body: dict[str, Any], old: Terms) -> Terms:
    """The terms after what a body says of them."""
    unknown = sorted(name for name, value in body.items() if name not in _KNOWN and value is not None)
    if unknown:
        raise not_supported(f"{', '.join(unknown)} of a session")
    reuse = body.get("disableSessionIdReuse")
    if reuse is not None and not isinstance(reuse, bool):
        raise invalid(f"disableSessionIdReuse: must be true or false, not {reuse!r}")
    return Terms(
        old.kind,
        _seconds(body, "sessionTTLInSeconds", 1, old.ttl_seconds),
        _seconds(body, "sessionIdleTimeoutInSeconds", 0, old.idle_seconds),
        old.may_reuse if reuse is None else not reuse,
    )


async def create_session(context: ApiContext, call: Call) -> Response:
    key, affinity = _pool_of(context, call)
    body = dict(call.body)
    asked = body.get("sessionId") or ""
    if asked and affinity.kind != "HEADER_FIELD":
        raise invalid("sessionId: can be chosen with HEADER_FIELD only")
    if not isinstance(asked, str) or (asked and SESSION_ID.fullmatch(asked) is None):
        raise invalid("sessionId: must be 1 to 64 letters, digits, _ and -, and not begin with -")
    terms = _terms(body, affinity.terms)
    if asked and context.sessions.table.find(SessionKey(key, asked), context.now_ns()) is not None:
        raise HttpError(409, "SessionAlreadyExists", f"session '{asked}' of {key} already exists")
    try:
        session = await begin(context.sessions, context.pool, key, affinity, asked, terms)
    except Refused as refused:
        raise HttpError(
            refused.status, refused.code, refused.message, refused.retry_after_seconds
        ) from refused
    return json_response(session_out(session, context.now_ns()))


async def get_session(context: ApiContext, call: Call) -> Response:
    key, _ = _pool_of(context, call)
    return json_response(session_out(_found(context, key, call.names["session"]), context.now_ns()))


async def list_sessions(context: ApiContext, call: Call) -> Response:
    """By id; nextToken is the id to go on after."""
    key, _ = _pool_of(context, call)
    now, query = context.now_ns(), call.query
    status = query.get("sessionStatus") or ""
    if status not in ("", "Active", "Expired"):
        raise invalid(f"sessionStatus: must be Active or Expired, not {status!r}")
    text = query.get("limit") or str(_DEFAULT_LIMIT)
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_LIMIT:
        raise invalid(f"limit: must be 1 to {_MAX_LIMIT}, not {text!r}")
    limit, after, only = int(text), query.get("nextToken", ""), query.get("sessionId", "")
    found = [
        out
        for session in context.sessions.table.all(key)
        if session.key.session_id > after and only in ("", session.key.session_id)
        for out in (session_out(session, now),)
        if status in ("", out["sessionStatus"])
    ]
    token = found[limit - 1]["sessionId"] if len(found) > limit else None
    return json_response(listed("sessions", found[:limit], token))


async def update_session(context: ApiContext, call: Call) -> Response:
    """Fields in the body replace; the greatest age counts from the session's beginning."""
    key, _ = _pool_of(context, call)
    session = _found(context, key, call.names["session"])
    body = {name: value for name, value in call.body.items() if name != "sessionId"}
    session.terms = _terms(body, session.terms)
    session.modified_ns = session.used_ns = context.now_ns()
    context.sessions.save(session)
    return json_response(session_out(session, context.now_ns()))


async def delete_session(context: ApiContext, call: Call) -> Response:
    """It ends; requests of it that are under way go on."""
    key, _ = _pool_of(context, call)
    session = _found(context, key, call.names["session"])
    context.sessions.table.end(session, context.now_ns())
    context.sessions.save(session)
    return NO_CONTENT

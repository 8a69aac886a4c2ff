"""The FC control API, version 2023-03-30: which call a request is, and who may make it.

Owns: the table of paths. Promises: every call is signed; every answer that refuses has FC's form; a call
of FC that this host does not offer says so. Never: knows what one object type means.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from tickover.errors import TickoverError
from tickover.fc.errors import FcError
from tickover.fc.signature import verify
from tickover.host import api_functions as functions
from tickover.host import api_routing as routing
from tickover.host import api_scaling as scaling
from tickover.host import api_sessions as sessions
from tickover.host.api_context import (
    ApiContext,
    Call,
    invalid,
    missing,
    not_supported,
    parse_body,
    parse_query,
)
from tickover.host.door_context import Invocation, Whole
from tickover.host.http import HttpError, Response
from tickover.host.registry import Missing
from tickover.host.routes import API_PREFIX

Handler = Callable[[ApiContext, Call], Awaitable[Response]]

F = "functions/{function}"
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "functions", functions.create_function),
    ("GET", "functions", functions.list_functions),
    ("GET", F, functions.get_function),
    ("PUT", F, functions.update_function),
    ("DELETE", F, functions.delete_function),
    ("POST", F + "/versions", functions.publish_version),
    ("GET", F + "/versions", functions.list_versions),
    ("DELETE", F + "/versions/{version}", functions.delete_version),
    ("POST", F + "/aliases", functions.create_alias),
    ("GET", F + "/aliases", functions.list_aliases),
    ("GET", F + "/aliases/{alias}", functions.get_alias),
    ("PUT", F + "/aliases/{alias}", functions.update_alias),
    ("DELETE", F + "/aliases/{alias}", functions.delete_alias),
    ("PUT", F + "/provision-config", scaling.put_provision),
    ("GET", F + "/provision-config", scaling.get_provision),
    ("DELETE", F + "/provision-config", scaling.delete_provision),
    ("GET", "provision-configs", scaling.list_provisions),
    ("PUT", F + "/concurrency", scaling.put_concurrency),
    ("GET", F + "/concurrency", scaling.get_concurrency),
    ("DELETE", F + "/concurrency", scaling.delete_concurrency),
    ("GET", "concurrency-configs", scaling.list_concurrency),
    ("GET", F + "/instances", scaling.list_instances),
    ("POST", F + "/sessions", sessions.create_session),
    ("GET", F + "/sessions", sessions.list_sessions),
    ("GET", F + "/sessions/{session}", sessions.get_session),
    ("PUT", F + "/sessions/{session}", sessions.update_session),
    ("DELETE", F + "/sessions/{session}", sessions.delete_session),
    ("POST", F + "/triggers", routing.create_trigger),
    ("GET", F + "/triggers", routing.list_triggers),
    ("GET", F + "/triggers/{trigger}", routing.get_trigger),
    ("PUT", F + "/triggers/{trigger}", routing.update_trigger),
    ("DELETE", F + "/triggers/{trigger}", routing.delete_trigger),
    ("POST", "custom-domains", routing.create_domain),
    ("GET", "custom-domains", routing.list_domains),
    ("GET", "custom-domains/{domain}", routing.get_domain),
    ("PUT", "custom-domains/{domain}", routing.update_domain),
    ("DELETE", "custom-domains/{domain}", routing.delete_domain),
)
INVOKE = F + "/invocations"


@dataclass(frozen=True, slots=True)
class Matched:
    handler: Handler | None  # None: an invocation
    names: dict[str, str]


def match(method: str, path: str) -> Matched | None:
    """The handler of a path below the API's prefix, with the names in it."""
    parts = [unquote(part) for part in path.split("/")]
    if method == "POST" and (names := _fit(INVOKE, parts)) is not None:
        return Matched(None, names)
    for verb, pattern, handler in ROUTES:
        if verb == method and (names := _fit(pattern, parts)) is not None:
            return Matched(handler, names)
    return None


def _fit(pattern: str, parts: list[str]) -> dict[str, str] | None:
    wanted = pattern.split("/")
    if len(wanted) != len(parts):
        return None
    names: dict[str, str] = {}
    for want, part in zip(wanted, parts, strict=True):
        if want.startswith("{"):
            if not part:
                return None
            names[want[1:-1]] = part
        elif want != part:
            return None
    return names


class Api:
    """Answers signed calls."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def check_signature(self, whole: Whole) -> None:
        """Raise HttpError unless the account's key has signed the request."""
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in whole.head.headers}
        try:
            verify(
                whole.head.method,
                whole.head.path,
                whole.head.query,
                headers,
                whole.body,
                self._context.credentials.secret_for,
            )
        except FcError as err:
            raise HttpError(err.http_status, err.code, err.message) from err

    async def handle(self, whole: Whole) -> Response | Invocation:
        """The answer of one call. Raises HttpError."""
        self.check_signature(whole)
        head = whole.head
        found = match(head.method, head.path[len(API_PREFIX) + 1 :])
        if found is None:
            raise not_supported(f"{head.method} {head.path}")
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in head.headers}
        query = parse_query(head.query)
        try:
            if found.handler is None:
                return self._invocation(Call(found.names, query, {}, headers))
            call = Call(
                found.names, query, parse_body(whole.body), {**headers, "request-id": whole.request_id}
            )
            return await found.handler(self._context, call)
        except Missing as err:
            raise missing(err, found.names.get("function", "")) from err
        except TickoverError as err:
            raise HttpError(500, "InternalServerError", f"{err.summary}: {err.detail}") from err

    def _invocation(self, call: Call) -> Invocation:
        kind = _one_of(call, "X-Fc-Invocation-Type", "Sync", "Async")
        log_type = _one_of(call, "X-Fc-Log-Type", "None", "Tail")
        self._context.registry.resolve(call.function_name, call.qualifier)
        if kind == "Async":
            raise not_supported("X-Fc-Invocation-Type Async (a call that is answered before it is run)")
        return Invocation(call.function_name, call.qualifier, wants_log=log_type == "Tail")


def _one_of(call: Call, header: str, default: str, other: str) -> str:
    """The value of a header that knows two, however it is written."""
    given = call.headers.get(header.lower()) or default
    found = next((value for value in (default, other) if value.lower() == given.lower()), None)
    if found is None:
        raise invalid(f"{header}: must be {default} or {other}, not {given[:40]!r}")
    return found

"""The admin API under /_tickover/v1: what the command line asks the host.

Owns: the answers for `tickover ps`, `bill`, `logs`, `host status|stop`, and for Prometheus. Promises: only
the admin token opens it; asking never wakes an instance (`wake` aside). Never: changes what is declared.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tickover.errors import TickoverError
from tickover.host import access_tail, log_stream
from tickover.host.admin_logs import log_query, place_after
from tickover.host.api_context import NOT_FOUND_CODES, parse_body, parse_query
from tickover.host.auth import Credentials
from tickover.host.door_context import Whole
from tickover.host.door_stream import Streamed
from tickover.host.http import HttpError, Response, json_response
from tickover.host.metrics import CONTENT_TYPE
from tickover.host.model import InstanceView, Pool, Refused, UsageRow, Waiting
from tickover.host.registry import Missing, ObjectRegistry
from tickover.host.routes import ADMIN_PREFIX
from tickover.host.store import Kind


@dataclass(frozen=True, slots=True)
class AdminContext:
    """What the admin API may ask. runtimes: name and note of each driver of this host. gpus: a line each."""

    registry: ObjectRegistry
    pool: Pool
    credentials: Credentials
    base_url: Callable[[], str]
    now_ns: Callable[[], int]
    started_ns: int
    version: str
    runtimes: Callable[[], Mapping[str, str]]
    gpus: Callable[[], Sequence[str]]
    metrics: Callable[[], bytes]
    certificates: Callable[[], Sequence[Mapping[str, Any]]]  # by ACME
    former: Callable[[], Sequence[Mapping[str, Any]]]  # hosts before this one that finish their requests
    stop_seconds: Callable[[], float]
    shutdown: Callable[[bool], None]  # keep instances?
    folder: Path  # of logs/ and access.log
    is_over: Callable[[], bool]  # this host ends, or another one owns the instances


class Admin:
    """Answers calls that carry the admin token."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._calls: dict[tuple[str, str], Callable[[Whole], Awaitable[Response | Streamed]]] = {
            ("GET", "status"): self._status,
            ("GET", "instances"): self._instances,
            ("GET", "usage"): self._usage,
            ("GET", "waiting"): self._waiting,
            ("GET", "metrics"): self._metrics,
            ("GET", "logs"): self._logs,
            ("GET", "access"): self._access,
            ("POST", "wake"): self._wake,
            ("POST", "shutdown"): self._shutdown,
        }

    async def handle(self, whole: Whole) -> Response | Streamed:
        """The answer of one call. Raises HttpError."""
        head = whole.head
        if not self._context.credentials.is_admin(head.header(b"authorization")):
            raise HttpError(401, "AccessDenied", "the admin API needs the host's admin token")
        name = head.path[len(ADMIN_PREFIX) + 1 :]
        call = self._calls.get((head.method, name))
        if call is None:
            raise HttpError(404, "NotSupported", f"the admin API has no {head.method} {name}")
        try:
            return await call(whole)
        except TickoverError as err:
            raise HttpError(500, "InternalServerError", f"{err.summary}: {err.detail}") from err

    async def _status(self, whole: Whole) -> Response:
        context = self._context
        now = context.now_ns()
        live = [v for v in context.pool.instances() if v.destroyed_ns is None]
        return json_response(
            {
                "pid": os.getpid(),
                "url": context.base_url(),
                "version": context.version,
                "started_ns": context.started_ns,
                "uptime_seconds": (now - context.started_ns) // 1_000_000_000,
                "functions": [row.name for row in context.registry.select(Kind.FUNCTION)],
                "instances": len(live),
                "runtimes": dict(context.runtimes()),
                "gpus": list(context.gpus()),
                "certificates": list(context.certificates()),
                "former_hosts": list(context.former()),
            }
        )

    async def _instances(self, whole: Whole) -> Response:
        query = parse_query(whole.head.query)
        views = self._context.pool.instances(query.get("functionName") or None)
        return json_response({"instances": [instance_json(view) for view in views]})

    async def _waiting(self, whole: Whole) -> Response:
        """Who waits for an instance: at which place, for how long, for what."""
        query = parse_query(whole.head.query)
        waiting = self._context.pool.waiting(query.get("functionName") or None)
        return json_response({"waiting": [waiting_json(one) for one in waiting]})

    async def _usage(self, whole: Whole) -> Response:
        query = parse_query(whole.head.query)
        since = _nanoseconds(query, "since", 0)
        until = _nanoseconds(query, "until", self._context.now_ns())
        usage = self._context.pool.usage(since, until)
        return json_response({**usage._asdict(), "rows": [usage_json(row) for row in usage.rows]})

    async def _metrics(self, whole: Whole) -> Response:
        return Response(200, self._context.metrics(), ((b"content-type", CONTENT_TYPE.encode()),))

    async def _logs(self, whole: Whole) -> Streamed:
        """What instances have written to their logs."""
        context = self._context
        logs = log_stream.Logs(context.folder / "logs", context.pool.instances, context.is_over)
        return Streamed(log_stream.stream(logs, log_query(parse_query(whole.head.query))))

    async def _access(self, whole: Whole) -> Streamed:
        """What the access log says."""
        context, said = self._context, parse_query(whole.head.query)
        path = context.folder / "access.log"
        return Streamed(access_tail.stream(path, log_query(said), place_after(said), context.is_over))

    async def _wake(self, whole: Whole) -> Response:
        """Of one qualifier, or of every pool of the function; count: at most so many of each pool."""
        body = parse_body(whole.body)
        name, count = str(body.get("functionName", "")), body.get("count")
        if count is not None and (type(count) is not int or count < 1):
            raise HttpError(400, "InvalidArgument", f"count must be a number from 1 on, not {count!r}")
        began = time.monotonic_ns()
        try:
            qualifiers = self._qualifiers(name, str(body.get("qualifier") or ""))
            done = await asyncio.gather(*(self._context.pool.wake(name, q, count) for q in qualifiers))
        except Missing as err:
            raise HttpError(404, NOT_FOUND_CODES[err.kind], str(err)) from err
        except Refused as err:
            raise HttpError(err.status, err.code, err.message, err.retry_after_seconds) from err
        took = (time.monotonic_ns() - began) / 1e9
        pools = [{"qualifier": q, **asdict(woken)} for q, woken in zip(qualifiers, done, strict=True)]
        return json_response({"pools": pools, "took_seconds": took})

    def _qualifiers(self, name: str, qualifier: str) -> tuple[str, ...]:
        registry = self._context.registry
        registry.function(name)
        if qualifier:
            registry.resolve(name, qualifier)
            return (qualifier,)
        found = tuple(row.name for row in registry.select(Kind.PROVISION, name))
        if not found:
            raise Refused(404, "ProvisionConfigNotFound", f"{name} has no reserved instances")
        return found

    async def _shutdown(self, whole: Whole) -> Response:
        keep = parse_body(whole.body).get("keepInstances", False) is True
        within = self._context.stop_seconds()
        self._context.shutdown(keep)
        return json_response({"stopping": True, "keepInstances": keep, "withinSeconds": within})


def instance_json(view: InstanceView) -> dict[str, Any]:
    """An instance for `tickover ps --json`."""
    found = asdict(view)
    found["function"] = found.pop("function_name")
    found["state"] = view.state.value
    return found


def waiting_json(one: Waiting) -> dict[str, Any]:
    found = asdict(one)
    found["function"] = found.pop("function_name")
    found["waited_ms"] = found.pop("waited_ns") // 1_000_000
    return found


def usage_json(row: UsageRow) -> dict[str, Any]:
    found = asdict(row)
    found["billing_class"] = row.billing_class.value
    return found


def _nanoseconds(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not text.isdigit():
        raise HttpError(400, "InvalidArgument", f"{name} must be nanoseconds since the epoch, not {text!r}")
    return int(text)

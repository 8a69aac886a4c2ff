"""One request of one caller: where it goes, on which instance, and how it ends.

Owns: the life of a request from its head to the end of its answer. Promises: a lease is released exactly
once; a caller that leaves frees its place at once; a request is sent a second time only while nothing of
an answer was seen and its whole body is still held. Never: parses bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, assert_never

import structlog

from tickover.host.auth import AuthKind, check_caller
from tickover.host.door_context import DoorContext, Invocation, Whole
from tickover.host.door_relay import Caller, Relay
from tickover.host.http import (
    MAX_BODY_BYTES,
    Head,
    Headers,
    HttpError,
    Response,
    error_response,
    new_request_id,
    render,
    too_large,
)
from tickover.host.instance import PoolKey, concurrency_of
from tickover.host.logtail import LogMark, log_mark
from tickover.host.model import Lease, Refused
from tickover.host.registry import Missing
from tickover.host.routes import ToAdmin, ToApi, ToFunction
from tickover.host.session_desk import Seat

log = structlog.get_logger(__name__)

HOLD_BYTES = 1024 * 1024
BODY_SECONDS = 60.0
ATTEMPTS = 2
_SLOW_BODY = HttpError(408, "InvalidArgument", f"the request body did not arrive within {BODY_SECONDS:.0f} s")


@dataclass(frozen=True, slots=True)
class _Sent:
    """How a request was sent, should it have to be sent again."""

    target: str
    whole: bool
    event: bool
    was_kept: bool  # on a connection kept from an earlier request


class Connection(Caller, Protocol):
    """The caller's connection, as its exchanges need it."""

    def exchange_done(self, *, keep_alive: bool) -> None: ...


class Exchange:
    """Drives one request; its connection feeds it, its relay answers it."""

    def __init__(self, context: DoorContext, caller: Connection, head: Head, error: HttpError | None) -> None:
        self._context = context
        self._caller = caller
        self.head = head
        self._error = error
        self.request_id = new_request_id()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._received = 0
        self._is_complete = not head.has_body
        self._started = False
        self._wants_whole = False
        self._wants_log = False
        self._target: ToApi | ToAdmin | ToFunction | None = None
        self._lease: Lease | None = None
        self._seat: Seat | None = None
        self._relay: Relay | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._resend = _Sent("", False, False, False)
        self._retried = False
        self._done = False

    # -- fed by the connection -------------------------------------------------------------------------

    def start(self) -> None:
        """The request is at the front of its connection."""
        self._started = True
        if self._error is not None:
            self._fail(self._error)
            return
        decision = self._context.routes().decide(self.head)
        match decision:
            case HttpError():
                self._fail(decision)
                return
            case ToFunction():
                refusal = check_caller(decision.auth, self.head.header(b"authorization"))
                if refusal is not None:
                    self._fail(refusal)
                    return
                self._wants_whole = decision.auth.kind is AuthKind.FUNCTION
            case ToApi() | ToAdmin():
                self._wants_whole = True
            case _:
                assert_never(decision)
        self._target = decision
        if isinstance(decision, ToFunction) and not self._wants_whole:
            self._spawn(self._forward(decision))
        elif self._is_complete:
            self._spawn(self._serve_whole())
        else:
            self._timer = asyncio.get_running_loop().call_later(BODY_SECONDS, self._fail, _SLOW_BODY)
            self._caller.set_reading(True)
            if (self.head.header(b"expect") or b"").lower() == b"100-continue":
                self._caller.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body(self, data: bytes) -> None:
        if self._done:
            return
        self._received += len(data)
        if self._received > MAX_BODY_BYTES:
            self._fail(too_large())
            return
        relay = self._relay
        if relay is not None:
            if self._is_held_whole and self._held_bytes + len(data) <= HOLD_BYTES:
                self._hold(data)
            else:
                self._let_go()
            relay.send_body(data)
            return
        self._hold(data)
        if not self._wants_whole and self._held_bytes > HOLD_BYTES:
            self._caller.set_reading(False)

    @property
    def is_complete(self) -> bool:
        return self._is_complete

    def body_end(self) -> None:
        self._is_complete = True
        if self._done or not self._started:
            return
        if self._relay is not None:
            self._relay.end_body()
        elif self._wants_whole and self._task is None:
            self._stop_timer()
            self._spawn(self._serve_whole())

    def raw(self, data: bytes) -> None:
        if self._relay is not None:
            self._relay.send_raw(data)

    def raw_eof(self) -> None:
        if self._relay is not None:
            self._relay.caller_eof()

    def set_caller_writable(self, writable: bool) -> None:
        if self._relay is not None:
            self._relay.set_caller_writable(writable)

    def caller_gone(self) -> None:
        """The caller closed: leave the queue, close the instance's side, give the lease back."""
        if self._done:
            return
        self._done = True
        if self._task is not None:
            self._task.cancel()
        if self._relay is not None:
            self._relay.cancel()
        self._release(failed=False)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)

    def _let_go(self) -> None:
        self._held.clear()
        self._held_bytes = 0

    @property
    def _is_held_whole(self) -> bool:
        return self._held_bytes == self._received

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        problem = task.exception()
        if problem is not None:
            log.error("request failed inside the host", request_id=self.request_id, exc_info=problem)
            self._fail(HttpError(500, "InternalServerError", "the host failed on this request; see host.log"))

    # -- the way to an instance ------------------------------------------------------------------------

    async def _forward(self, target: ToFunction) -> None:
        await self._ask(
            target.function_name, target.qualifier, target.target, whole=self._wants_whole, event=False
        )

    async def _serve_whole(self) -> None:
        target = self._target
        whole = Whole(self.head, b"".join(self._held), self.request_id)
        try:
            match target:
                case ToApi():
                    answer = await self._context.api(whole)
                case ToAdmin():
                    answer = await self._context.admin(whole)
                case ToFunction():
                    self._context.verify(whole)
                    await self._forward(target)
                    return
                case None:
                    return
                case _:
                    assert_never(target)
        except HttpError as error:
            self._fail(error)
            return
        if isinstance(answer, Invocation):
            self._wants_log = answer.wants_log
            await self._ask(answer.function_name, answer.qualifier, "/invoke", whole=True, event=True)
        else:
            self._answer(answer)

    async def _ask(
        self, function_name: str, qualifier: str, target: str, *, whole: bool, event: bool
    ) -> None:
        """Lease, connect, send; a second lease if the first instance cannot be reached."""
        for attempt in range(ATTEMPTS):
            try:
                lease = await self._take(function_name, qualifier, target)
            except HttpError as error:
                self._fail(error)
                return
            except Refused as refused:
                code, message = refused.code, refused.message
                self._fail(HttpError(refused.status, code, message, refused.retry_after_seconds))
                return
            self._lease = lease
            try:
                await self._connect(lease, target, whole=whole, event=event, fresh=lease.woke)
                return
            except (OSError, TimeoutError) as err:
                log.warning(
                    "instance not reached", instance=lease.instance_id, attempt=attempt, error=str(err)
                )
                self._release(failed=True)
        self._fail(HttpError(502, "BadResponse", "no instance of the function could be reached"))

    async def _take(self, function_name: str, qualifier: str, target: str) -> Lease:
        """A lease, in the request's session if its function keeps them. Raises Refused, HttpError."""
        context = self._context
        try:
            spec = context.registry.resolve(function_name, qualifier).spec
        except Missing:
            return await context.pool.acquire(function_name, qualifier)  # which says what is missing
        self._seat = context.sessions.seat(PoolKey(function_name, qualifier), spec, self.head, target)
        if self._seat is None:
            return await context.pool.acquire(function_name, qualifier)
        return await self._seat.lease(context.pool)

    async def _connect(self, lease: Lease, target: str, *, whole: bool, event: bool, fresh: bool) -> None:
        upstream = await self._context.upstreams.connect(lease.host, lease.port, fresh=fresh)
        if self._done:  # the caller left while the connection was made
            upstream.close()
            return
        self._start_timer(lease)
        relay = Relay(self, self._caller, self.head, lease, upstream, self.request_id)
        relay.is_event = event
        relay.watcher = self._seat
        relay.log_mark = self._log_mark(lease) if self._wants_log else None
        self._relay = relay
        self._resend = _Sent(target, whole, event, upstream.used)
        relay.start(
            target, self._instance_headers(lease, event), self._held, complete=self._is_complete, whole=whole
        )
        if not self._is_complete:
            self._caller.set_reading(True)
            if self._held_bytes > HOLD_BYTES:
                self._let_go()

    def _log_mark(self, lease: Lease) -> LogMark | None:
        """As on FC, none where calls run side by side: nobody could say whose lines are whose."""
        try:
            spec = self._context.registry.version(lease.function_name, lease.version_id)
        except Missing:  # deleted meanwhile
            return None
        path = self._context.pool.log_path(lease.instance_id)
        return log_mark(Path(path)) if concurrency_of(spec) == 1 and path is not None else None

    def _start_timer(self, lease: Lease) -> None:
        if self._timer is not None:
            return
        try:
            seconds = self._context.registry.version(lease.function_name, lease.version_id).timeout
        except Missing:
            seconds = None  # deleted while the request waited: the instance drains, the request may end
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._time_is_up, seconds)

    def _instance_headers(self, lease: Lease, event: bool) -> Headers:
        who = self._context.credentials
        return (
            (b"x-fc-request-id", self.request_id.encode()),
            (b"x-fc-function-name", lease.function_name.encode()),
            (b"x-fc-version-id", lease.version_id.encode()),
            (b"x-fc-qualifier", lease.qualifier.encode()),
            (b"x-fc-region", who.region.encode()),
            (b"x-fc-account-id", who.account_id.encode()),
            (b"x-fc-control-path", b"/invoke" if event else b"/http-invoke"),
        )

    # -- heard from the relay --------------------------------------------------------------------------

    def relay_ended(self, *, keep_alive: bool, reusable: bool) -> None:
        relay, self._relay = self._relay, None
        if relay is not None and reusable:
            relay.give_back(self._context.upstreams)
        self._release(failed=False)
        self._finish(keep_alive=keep_alive)

    def relay_broke(self, error: HttpError, *, answered: bool) -> None:
        self._relay = None
        sent, lease = self._resend, self._lease
        if not answered and sent.was_kept and self._is_held_whole and not self._retried and lease is not None:
            self._retried = True  # a kept connection that the instance had closed meanwhile
            self._spawn(self._again(lease, sent))
            return
        self._release(failed=True)
        if answered:
            self._done = True
            self._stop_timer()
            self._caller.abort()
        else:
            self._fail(error)

    async def _again(self, lease: Lease, sent: _Sent) -> None:
        try:
            await self._connect(lease, sent.target, whole=sent.whole, event=sent.event, fresh=True)
        except (OSError, TimeoutError):
            self._release(failed=True)
            await self._ask(
                lease.function_name, lease.qualifier, sent.target, whole=sent.whole, event=sent.event
            )

    # -- ends ------------------------------------------------------------------------------------------

    def _time_is_up(self, seconds: int) -> None:
        if self._done:
            return
        relay, self._relay = self._relay, None
        answered = relay is not None and relay.answered
        if relay is not None:
            relay.cancel()
        if self._task is not None:
            self._task.cancel()
        self._release(failed=False)
        if answered:
            self._done = True
            self._caller.abort()
        else:
            self._fail(
                HttpError(504, "FunctionTimeout", f"the function's timeout of {seconds} seconds has passed")
            )

    def _fail(self, error: HttpError) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.cancel()
            self._release(failed=False)
            if relay.answered:
                self._done = True
                self._stop_timer()
                self._caller.abort()
                return
        self._answer(error_response(error, self.request_id))

    def _answer(self, response: Response) -> None:
        if self._done:
            return
        wants_close = b"close" in (self.head.header(b"connection") or b"").lower()
        keep_alive = (
            self._is_complete and not wants_close and self.head.version != "1.0" and self._error is None
        )
        extra = ((b"X-Fc-Request-Id", self.request_id.encode()),)
        is_head = self.head.method == "HEAD"
        self._caller.write(render(response, keep_alive=keep_alive, head_only=is_head, extra=extra))
        self._finish(keep_alive=keep_alive)

    def _finish(self, *, keep_alive: bool) -> None:
        if self._done:
            return
        self._done = True
        self._stop_timer()
        self._caller.exchange_done(keep_alive=keep_alive)

    def _release(self, *, failed: bool) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._context.pool.release(lease, failed=failed)
            if self._seat is not None:
                self._seat.left()
        if self._done:
            self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

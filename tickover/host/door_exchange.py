"""One request of one caller: where it goes, on which instance, and how it ends.

Owns: the life of a request from its head to the end of its answer. Promises: a lease is released exactly
once; a caller that leaves frees its place at once; a request is sent a second time only while nothing of
an answer was seen and its whole body is still held. Never: parses bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol, assert_never

import structlog

from tickover.host.access import End, Trace
from tickover.host.auth import AuthKind, check_caller
from tickover.host.door_body import HeldBody
from tickover.host.door_context import DoorContext, Invocation, Order, Whole
from tickover.host.door_relay import Caller, Relay, request_lines
from tickover.host.door_stream import Outflow, Streamed
from tickover.host.door_upstream import UpstreamConnection
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
from tickover.host.jwks import KeysWanted
from tickover.host.logtail import mark_of
from tickover.host.model import NO_INSTANCE, Lease
from tickover.host.routes import ToAdmin, ToApi, ToFunction
from tickover.host.seating import Asked, has_ended, seated
from tickover.host.session_desk import Seat

log = structlog.get_logger(__name__)

ATTEMPTS = 5  # instances that a request is tried on, as long as nothing of an answer was seen
_NO_ROOM = HttpError(429, "ResourceExhausted", "the host holds as many request bodies as it has room for", 1)
_BROKEN = HttpError(500, "InternalServerError", "the host failed on this request; see host.log")
_NOBODY = HttpError(502, "BadResponse", "no instance of the function could be reached")


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
        self._held = HeldBody(context.bodies)
        self._received = 0
        self._trailers: Headers | None = None if head.has_body else ()  # None: the body is not complete
        self.is_started = False
        self._wants_whole = False
        self._wants_log = False
        self._told_to_continue = False
        self._target: ToApi | ToAdmin | ToFunction | None = None
        self._order: Order | None = None
        self._lease: Lease | None = None
        self._seat: Seat | None = None
        self._relay: Relay | None = None
        self._outflow: Outflow | None = None
        self._task: asyncio.Task[None] | None = None
        self._timed = False
        self._attempts = 0
        self._was_kept = False  # sent on a connection kept from an earlier request
        self._done = False
        self._cors: Headers = ()
        self._trace = Trace(self.request_id, head.method, head.path, head.host, time.monotonic_ns())
        self._trace.protocol = head.version
        self._is_told = False

    # -- fed by the connection -------------------------------------------------------------------------

    def start(self) -> None:
        """The request is at the front of its connection."""
        self.is_started = True
        self._context.begun(self._trace)
        if self._error is not None:
            self._fail(self._error)
            return
        if (proof := self._context.challenges.answer(self.head)) is not None:
            self._answer(proof)
            return
        decision, cors = self._context.routes().look_up(self.head)
        if cors is not None:
            self._cors = cors.headers(self.head)
            answer = cors.preflight(self.head)
            if answer is not None:
                self._fail(answer) if isinstance(answer, HttpError) else self._answer(answer)
                return
        match decision:
            case HttpError():
                self._fail(decision)
                return
            case ToFunction():
                checked = check_caller(decision.auth, self.head, time.time(), self._context.key_sets.known)
                if isinstance(checked, KeysWanted):
                    self._spawn(self._context.key_sets.ask(checked.uri, self.start))
                    return
                if isinstance(checked, HttpError):
                    self._fail(checked)
                    return
                if checked:
                    self.head = self.head.told(checked)
                self._wants_whole = decision.auth.kind is AuthKind.FUNCTION
            case ToApi() | ToAdmin():
                self._wants_whole = True
            case _:
                assert_never(decision)
        self._target = decision
        if isinstance(decision, ToFunction) and not self._wants_whole:
            self._send(Order(decision.function_name, decision.qualifier, decision.target))
        elif self.is_complete:
            self._spawn(self._serve_whole())
        else:
            self._caller.set_reading(True)
            self._tell_to_continue()

    def body(self, data: bytes) -> None:
        if self._done:
            return
        self._received += len(data)
        self._trace.bytes_in += len(data)
        if self._received > MAX_BODY_BYTES:
            self._fail(too_large())
            return
        relay = self._relay
        if relay is not None and not relay.is_behind:
            if relay.answered or not self._held.is_whole or not self._held.add(data):
                self._held.let_go()  # it will not be sent again
            relay.send_body(data)
        elif not self._held.add(data):
            if self._wants_whole:
                self._fail(_NO_ROOM)
            else:
                self._caller.set_reading(False)

    @property
    def is_complete(self) -> bool:
        return self._trailers is not None

    @property
    def owes_body(self) -> bool:
        """The caller is to send, and has seen nothing of an answer yet."""
        return self._trailers is None and not (self._relay is not None and self._relay.answered)

    def body_end(self, trailers: Headers) -> None:
        self._trailers = trailers
        self._held.end()
        if self._done or not self.is_started:
            return
        if self._relay is not None:
            self._relay.end_body(trailers)
        elif self._wants_whole and self._task is None:
            self._spawn(self._serve_whole())

    def refuse(self, error: HttpError) -> None:
        """What the caller sends goes on as no request can."""
        if self.is_started:
            self._fail(error)
        else:
            self._error = error

    def raw(self, data: bytes) -> None:
        if self._relay is not None:
            self._trace.bytes_in += len(data)
            self._relay.send_raw(data)

    def raw_eof(self) -> None:
        if self._relay is not None:
            self._relay.caller_eof()

    def set_caller_writable(self, writable: bool) -> None:
        taker = self._relay or self._outflow
        if taker is not None:
            taker.set_caller_writable(writable)

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
        self._close()
        self._tell(End.BROKEN if self._context.fate.reason else End.CALLER_LEFT, self._context.fate.reason)

    def _tell_to_continue(self) -> None:
        if self.head.awaits_continue and not self._received and not self._told_to_continue:
            self._told_to_continue = True
            self._caller.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        problem = task.exception()
        if problem is not None:
            log.error("request failed inside the host", request_id=self.request_id, exc_info=problem)
            self._cut(End.BROKEN, _BROKEN.message) if self._outflow else self._fail(_BROKEN, End.BROKEN)

    # -- the way to an instance ------------------------------------------------------------------------

    def _send(self, order: Order) -> None:
        """At once if an instance and a connection to it are free, which is the usual case."""
        self._order = order
        if not self._context.routes().is_choosy(order.function_name):
            self._lease = self._context.pool.acquire_now(order.function_name, order.qualifier)
        lease = self._lease
        if lease is not None:
            self._trace.granted(lease)
        if lease is not None and not lease.woke:
            upstream = self._context.upstreams.take((lease.host, lease.port))
            if upstream is not None:
                self._attach(lease, upstream, order)
                return
        self._spawn(self._ask(order))

    async def _serve_whole(self) -> None:
        target = self._target
        whole = Whole(self.head, self._held.whole(), self.request_id)
        answer: Response | Invocation | Streamed
        try:
            match target:
                case ToApi():
                    answer = await self._context.api(whole)
                case ToAdmin():
                    answer = await self._context.admin(whole)
                case ToFunction():
                    self._context.verify(whole)
                    await self._ask(Order(target.function_name, target.qualifier, target.target, whole=True))
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
            await self._ask(Order(answer.function_name, answer.qualifier, "/invoke", whole=True, event=True))
        elif isinstance(answer, Streamed):
            self._outflow = Outflow(self._caller, self._trace)
            keep_alive = await self._outflow.run(answer, self.head, self.request_id)
            self._finish(keep_alive=keep_alive)
        else:
            self._answer(answer)

    async def _ask(self, order: Order) -> None:
        """Lease, connect, send; another lease if the instance cannot be reached."""
        self._order = order
        self._trace.function_name, self._trace.qualifier = order.function_name, order.qualifier
        while self._attempts < ATTEMPTS:
            if self._lease is None:
                try:
                    asked = Asked(self.head, self.request_id, self._held, is_complete=self.is_complete)
                    self._lease, self._seat = await seated(self._context, order, asked)
                except HttpError as error:
                    self._fail(error)
                    return
                self._trace.granted(self._lease)
            if await self._reached(self._lease, order, fresh=self._lease.woke):
                return
            self._release(failed=True)
        self._fail(_NOBODY, End.BROKEN)

    async def _reached(self, lease: Lease, order: Order, *, fresh: bool) -> bool:
        """Send it on a connection to a leased instance, if there can be one."""
        self._attempts += 1
        try:
            upstream = await self._context.upstreams.connect(lease.host, lease.port, fresh=fresh)
        except (OSError, TimeoutError) as err:
            log.warning(
                "instance not reached", instance=lease.instance_id, attempt=self._attempts, error=str(err)
            )
            return False
        if self._done:  # the caller left while the connection was made
            upstream.close()
        else:
            self._attach(lease, upstream, order)
        return True

    def _attach(self, lease: Lease, upstream: UpstreamConnection, order: Order) -> None:
        """Send the request to the instance."""
        if lease.timeout_seconds is not None and not self._timed:
            self._timed = True
            self._context.deadlines.add(self, lease.timeout_seconds)
        relay = Relay(self, self._caller, self.head, lease, upstream, self.request_id)
        relay.is_event = order.event
        relay.watcher = self._seat
        relay.trace = self._trace
        relay.cors = self._cors
        context = self._context
        relay.log_mark = mark_of(context.registry, context.pool, lease) if self._wants_log else None
        self._relay = relay
        self._was_kept = upstream.used
        if lease.instance_id == NO_INSTANCE:
            target, lines = self.head.target, b""
        else:
            target, who = order.target, context.credentials
            lines = request_lines(self.request_id, lease, who.region, who.account_id, event=order.event)
        relay.start(target, lines, self._held, trailers=self._trailers, whole=order.whole)
        if self._trailers is None and not relay.is_behind:
            self._caller.set_reading(True)
            self._tell_to_continue()

    # -- heard from the relay --------------------------------------------------------------------------

    def relay_ended(self, *, keep_alive: bool, reusable: bool) -> None:
        relay, self._relay = self._relay, None
        if relay is not None and reusable:
            relay.give_back(self._context.upstreams)
        self._release(failed=False)
        self._finish(keep_alive=keep_alive)

    def relay_broke(self, error: HttpError, *, answered: bool) -> None:
        self._relay = None
        lease, order = self._lease, self._order
        if answered or not self._held.is_whole or lease is None or order is None:
            self._release(failed=True)
            if answered:
                self._cut(End.BROKEN, error.message)
            else:
                self._fail(error, End.BROKEN)
        elif self._was_kept:  # a kept connection that the instance had closed meanwhile
            self._spawn(self._again(lease, order))
        else:
            self._spawn(self._elsewhere(lease, order, error))

    async def _again(self, lease: Lease, order: Order) -> None:
        if not await self._reached(lease, order, fresh=True):
            self._release(failed=True)
            await self._ask(order)

    async def _elsewhere(self, lease: Lease, order: Order, error: HttpError) -> None:
        """On another instance if that one has ended. One that lives may have done what was asked of it."""
        self._release(failed=True)
        if self._attempts < ATTEMPTS and await has_ended(self._context.pool, lease):
            log.warning("instance ended, asking another", instance=lease.instance_id, request=self.request_id)
            await self._ask(order)
        else:
            self._fail(error, End.BROKEN)

    # -- ends ------------------------------------------------------------------------------------------

    def time_is_up(self, seconds: int) -> None:
        """The function's timeout has passed."""
        if self._done:
            return
        relay, self._relay = self._relay, None
        answered = relay is not None and relay.answered
        if relay is not None:
            relay.cancel()
        if self._task is not None:
            self._task.cancel()
        self._release(failed=False)
        words = f"the function's timeout of {seconds} seconds has passed"
        if answered:
            self._cut(End.TIMEOUT, words)
        else:
            self._fail(HttpError(504, "FunctionTimeout", words), End.TIMEOUT)

    def _fail(self, error: HttpError, end: End = End.COMPLETE) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._release(failed=False)
        if relay is not None and relay.answered:
            self._cut(End.BROKEN, error.message)
            return
        self._trace.error_type = error.code
        reason = "" if end is End.COMPLETE else error.message  # others' messages may quote what was sent
        self._answer(error_response(error, self.request_id), end, reason)

    def _answer(self, response: Response, end: End = End.COMPLETE, reason: str = "") -> None:
        if self._done:
            return
        keep_alive = self.is_complete and self._error is None and self.head.keeps_alive
        extra = ((b"X-Fc-Request-Id", self.request_id.encode()), *self._cors)
        is_head = self.head.method == "HEAD"
        answer = render(response, keep_alive=keep_alive, head_only=is_head, extra=extra)
        self._trace.status = response.status
        self._trace.sent(len(answer), time.monotonic_ns())
        self._caller.write(answer)
        self._tell(end, reason)
        self._finish(keep_alive=keep_alive)

    def _finish(self, *, keep_alive: bool) -> None:
        if self._done:
            return
        self._done = True
        self._close()
        self._tell(self._trace.end, self._trace.reason)
        self._caller.exchange_done(keep_alive=keep_alive)

    def _cut(self, end: End, reason: str = "") -> None:
        """Break off an answer that has begun, so that it is seen as broken."""
        self._done = True
        self._close()
        self._tell(end, reason)
        self._caller.abort()

    def _tell(self, end: End, reason: str = "") -> None:
        """The exchange is over: said once, to the access log and the counters."""
        if self._is_told:
            return
        self._is_told = True
        trace = self._trace
        trace.end, trace.reason = end, reason
        trace.ended_ns, trace.ended_wall_ns = time.monotonic_ns(), time.time_ns()
        self._context.ended(trace)

    def _release(self, *, failed: bool) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._context.pool.release(lease, failed=failed)
            seat, self._seat = self._seat, None
            if seat is not None:
                seat.left()

    def _close(self) -> None:
        """Let go of what an exchange that is done holds."""
        self._held.let_go()
        if self._timed:
            self._context.deadlines.discard(self)

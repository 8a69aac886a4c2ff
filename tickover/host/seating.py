"""A lease for a request of the front door: in its session, or where the beginning of its prompt is known.

Owns: nothing. Promises: a session is looked up with whoever owns the instances at that moment, anew whenever
they get another owner; a prompt is looked at only when it is small and there, and a request waits for the
rest of it no longer than its model server would have to; what is refused comes out as the answer to the
caller. A request of a session that another host has by now is passed on to that host's door. Never: keeps
a session or a prompt.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from tickover.fc.function import Function
from tickover.host.door_body import MEMORY_BYTES, HeldBody
from tickover.host.door_context import DoorContext, Order
from tickover.host.handover import HandedOver
from tickover.host.http import Head, HttpError
from tickover.host.idle_settings import idle_settings
from tickover.host.instance import PoolKey
from tickover.host.model import NO_INSTANCE, Lease, Leases, Prefix, Refused
from tickover.host.prefix import has_prompt, prefix_of
from tickover.host.registry import Missing
from tickover.host.session_desk import Seat

# A model server begins when it has the whole body, so that waiting for it here costs the caller nothing. A
# slower caller's request is sent on as it comes, to any instance.
BODY_SECONDS: Final = 0.25
ENDED_SECONDS: Final = 0.5  # within which it is known whether an instance that broke a connection has ended
_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as far as it has arrived. is_complete: that is all of it."""

    head: Head
    request_id: str
    body: HeldBody
    is_complete: bool


async def seated(context: DoorContext, order: Order, asked: Asked) -> tuple[Lease, Seat | None]:
    """A lease, and the seat that has to hear of its end. Raises HttpError."""
    name, qualifier, request_id = order.function_name, order.qualifier, asked.request_id
    try:
        while context.routes().keeps_sessions(name):
            sessions = await context.sessions()
            if sessions is None:
                return _passed_on(context, order, asked.head), None
            spec = _spec(context, order)
            key = PoolKey(name, qualifier)
            seat = sessions.seat(key, spec, asked.head, order.target) if spec is not None else None
            if seat is None:
                break
            try:
                return await seat.lease(context.pool, request_id), seat
            except HandedOver:
                continue
        prefix = await _prefix(context, order, asked) if context.routes().follows_prefixes(name) else None
        lease = await context.pool.acquire(name, qualifier, request_id=request_id, prefix=prefix)
        return lease, None
    except Refused as refused:
        after = refused.retry_after_seconds
        raise HttpError(refused.status, refused.code, refused.message, after) from refused


def _passed_on(context: DoorContext, order: Order, head: Head) -> Lease:
    """To the host that has the sessions now, as the caller has sent it. Raises HttpError for what would not
    arrive there as it came here: a signature is not passed on, nor that the caller speaks TLS."""
    if order.whole or head.is_tls:
        raise HttpError(503, "ServiceUnavailable", "this host was replaced by a new one; ask again", 1)
    host, port = context.address()
    return Lease(NO_INSTANCE, order.function_name, order.qualifier, "", host, port, woke=False, waited_ns=0)


async def _prefix(context: DoorContext, order: Order, asked: Asked) -> Prefix | None:
    """The beginning of a request's prompt, if it is to be looked at and is there."""
    path, body = order.target.partition("?")[0], asked.body
    spec = _spec(context, order)
    if spec is None or not idle_settings(spec.environment_variables).prefix_affinity:
        return None
    if asked.head.method != "POST" or not has_prompt(path) or asked.head.header(b"content-encoding"):
        return None
    if (asked.head.content_length or 0) > MEMORY_BYTES:
        return None
    if not asked.is_complete:
        has_to_ask = asked.head.awaits_continue and not body.size  # it is told to go on by its instance
        if has_to_ask or not await body.until_end(BODY_SECONDS):
            return None
    return prefix_of(path, body.whole()) if body.is_whole and body.size <= MEMORY_BYTES else None


def _spec(context: DoorContext, order: Order) -> Function | None:
    try:
        return context.registry.resolve(order.function_name, order.qualifier).spec
    except Missing:
        return None  # the pool says what is missing


async def has_ended(pool: Leases, lease: Lease) -> bool:
    """Whether the instance of a lease is seen to have ended, soon after it broke a connection."""
    for _ in range(round(ENDED_SECONDS / _LOOK_SECONDS)):
        if pool.has_ended(lease.instance_id):
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False

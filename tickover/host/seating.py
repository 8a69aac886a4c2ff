"""A lease for a request of the front door, in its session if its function keeps any.

Owns: nothing. Promises: a session is looked up with whoever owns the instances at that moment, anew whenever
they get another owner; what is refused comes out as the answer to the caller. Never: keeps a session.
"""

from __future__ import annotations

from tickover.host.door_context import DoorContext, Order
from tickover.host.handover import HandedOver
from tickover.host.http import Head, HttpError
from tickover.host.instance import PoolKey
from tickover.host.model import Lease, Refused
from tickover.host.registry import Missing
from tickover.host.session_desk import Seat


async def seated(
    context: DoorContext, order: Order, head: Head, request_id: str
) -> tuple[Lease, Seat | None]:
    """A lease, and the seat that has to hear of its end. Raises HttpError."""
    name, qualifier = order.function_name, order.qualifier
    try:
        while context.routes().keeps_sessions(name):
            seat = await _seat(context, order, head)
            if seat is None:
                break
            try:
                return await seat.lease(context.pool, request_id), seat
            except HandedOver:
                continue
        return await context.pool.acquire(name, qualifier, request_id=request_id), None
    except Refused as refused:
        after = refused.retry_after_seconds
        raise HttpError(refused.status, refused.code, refused.message, after) from refused


async def _seat(context: DoorContext, order: Order, head: Head) -> Seat | None:
    sessions = await context.sessions()
    try:
        spec = context.registry.resolve(order.function_name, order.qualifier).spec
    except Missing:
        return None  # the pool says what is missing
    return sessions.seat(PoolKey(order.function_name, order.qualifier), spec, head, order.target)

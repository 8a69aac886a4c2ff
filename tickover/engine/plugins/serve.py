"""The in-process monitor and engine log, offered over gRPC to providers.

Owns: the server on loopback. Promises: a call reaches the object's method of that name, on a thread of its
own; what the object refuses goes back as the status that it named. Never: answers a call itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn, cast

import grpc
from pulumi.runtime.proto import engine_pb2_grpc, resource_pb2_grpc

from tickover.engine.plugins.connection import MESSAGE_BYTES

THREADS: Final = 256  # each registration blocks one until the engine has done it
STOP_SECONDS: Final = 1.0

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
)


class _Forward:
    """Stands where a servicer is expected, and passes every call on to an object."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[[Any, Any], Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._target, name, None)

        def answer(request: Any, context: Any) -> Any:
            if method is None:
                _refuse(context, grpc.StatusCode.UNIMPLEMENTED, f"tickover's engine does not serve {name}")
            try:
                return method(request)
            except grpc.RpcError as error:
                _refuse(context, error.code(), error.details() or "")

        return answer


def _refuse(context: Any, code: grpc.StatusCode, details: str) -> NoReturn:
    context.abort(code, details)
    raise AssertionError("abort raises. This is a bug in tickover.")


@asynccontextmanager
async def served(monitor: object, engine: object, *, threads: int = THREADS) -> AsyncIterator[str]:
    """Offer monitor as ResourceMonitor and engine as Engine; the value is their address."""
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="tickover-monitor")
    server = grpc.server(pool, options=_OPTIONS)
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(cast(Any, _Forward(monitor)), server)
    engine_pb2_grpc.add_EngineServicer_to_server(cast(Any, _Forward(engine)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        # The calls that are under way need the loop to end, so it must not be blocked here.
        await asyncio.shield(asyncio.to_thread(server.stop(STOP_SECONDS).wait))
        pool.shutdown(wait=False, cancel_futures=True)

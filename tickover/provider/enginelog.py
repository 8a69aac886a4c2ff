"""Log lines of the plugin on their way to the engine.

Owns: the order and the delivery of the lines. Promises: lines arrive in the order they were said; without
an engine they go to stderr; a lost engine loses lines, never the operation. Never: formats for people.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import grpc.aio
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from tickover.engine.provider import Severity

_SEVERITIES = {
    Severity.DEBUG: engine_pb2.DEBUG,
    Severity.INFO: engine_pb2.INFO,
    Severity.WARNING: engine_pb2.WARNING,
    Severity.ERROR: engine_pb2.ERROR,
}


class EngineLog:
    """A `ProviderLog` that sends to Engine.Log."""

    def __init__(self) -> None:
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._tail: asyncio.Task[None] | None = None

    def attach(self, address: str) -> None:
        """Send to the engine at address from now on."""
        self._channel = grpc.aio.insecure_channel(address)
        self._stub = engine_pb2_grpc.EngineStub(self._channel)

    def __call__(self, severity: Severity, urn: str, message: str, *, ephemeral: bool = False) -> None:
        if self._stub is None:
            sys.stderr.write(f"{severity.value}: {message}\n")
            return
        request = engine_pb2.LogRequest(
            severity=_SEVERITIES[severity], message=message, urn=urn, ephemeral=ephemeral
        )
        self._tail = asyncio.ensure_future(self._send(request, self._tail))

    async def _send(self, request: Any, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        try:
            await self._stub.Log(request)
        except grpc.aio.AioRpcError as error:
            sys.stderr.write(f"engine log lost ({error.code().name}): {request.message}\n")

    async def flush(self) -> None:
        """Wait until all lines are delivered."""
        if self._tail is not None:
            await self._tail

    async def close(self) -> None:
        """Deliver what is left and hang up."""
        await self.flush()
        if self._channel is not None:
            await self._channel.close()

"""The gRPC channel to one provider, and how its failed calls become errors.

Owns: the channel, the process behind it, the reading of failures. Promises: a failed Create, Update or
Delete whose effect nobody can tell is `OutcomeUnknown`; a provider that died says so, with what it said
last. Never: knows what a verb means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2_grpc

from tickover.engine.plugins import errors
from tickover.engine.plugins.errors import Call, OutcomeUnknown
from tickover.engine.plugins.process import PluginProcess
from tickover.engine.provider import Unimplemented
from tickover.engine.values import PropertyValue
from tickover.errors import TickoverError

MESSAGE_BYTES: Final = 400 * 1024 * 1024
CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # a Create that is sent twice creates twice
)
CONNECT_SECONDS: Final = 10.0
CANCEL_SECONDS: Final = 2.0


class Connection:
    """A channel to a provider. process: None for one that was running already."""

    def __init__(self, name: str, port: int, process: PluginProcess | None) -> None:
        self.name = name
        self.process = process
        self._port = port
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=list(CHANNEL_OPTIONS))
        self._stub: Any = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self._is_closed = False

    async def ready(self, seconds: float = CONNECT_SECONDS) -> None:
        """Wait until it answers. Raises TickoverError ``plugin-failed``."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), seconds)
        except TimeoutError as error:
            told = await self.process.death(0.01) if self.process is not None else None
            raise TickoverError(
                "plugin-failed",
                "Provider plugin does not answer",
                f"The provider {self.name} does not answer on port {self._port} within {seconds:g} s."
                + (f" {told}" if told else ""),
                address=self.name,
            ) from error

    async def call(self, verb: str, request: Any, address: str = "", *sent: PropertyValue) -> Any:
        """The answer to verb. sent: the values in request, whose secrets no error may repeat. Raises
        Unimplemented, TickoverError, and `errors.Partial` for an object that is there and not as asked."""
        where = address or self.name
        if self._is_closed or (self.process is not None and not self.process.is_alive):
            raise await self._gone(verb, where)  # never sent, so nothing can have happened
        try:
            return await getattr(self._stub, verb)(request)
        except grpc.aio.AioRpcError as error:
            if errors.is_unimplemented(error):
                raise Unimplemented(f"{verb}: {errors.plain_message(error.details() or '')}") from error
            raise await self._failure(verb, where, sent, error) from error
        except grpc.aio.UsageError as error:
            raise self._closed_meanwhile(verb, where) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if not self._is_closed or (task is not None and task.cancelling()):
                raise
            raise self._closed_meanwhile(verb, where) from error  # close() ended the call, not our caller

    async def cancel(self) -> None:
        """Ask the provider to give up what it does; one that cannot is ended later anyway."""
        if self._is_closed or (self.process is not None and not self.process.is_alive):
            return
        with suppress(grpc.aio.AioRpcError):  # a courtesy: not known, too late, or dead, it ends all the same
            await self._stub.Cancel(Empty(), timeout=CANCEL_SECONDS)

    async def close(self) -> None:
        """End the channel and the process."""
        if self._is_closed:
            return
        if self.process is not None:  # one that runs by itself serves others after us
            await self.cancel()
        self._is_closed = True
        await self._channel.close()
        if self.process is not None:
            await self.process.stop()

    async def _failure(
        self, verb: str, address: str, sent: Iterable[PropertyValue], error: grpc.aio.AioRpcError
    ) -> Exception:
        if verb in errors.PARTIAL and (partial := errors.init_failure(error)) is not None:
            return errors.Partial(partial)
        if verb == "Configure" and (missing := errors.missing_keys(self.name, address, error)) is not None:
            return missing
        died = None
        if error.code() in errors.UNDECIDED and self.process is not None:
            died = await self.process.death()
        return errors.failure(Call(self.name, verb, address, errors.secret_texts(sent)), error, died)

    async def _gone(self, verb: str, address: str) -> TickoverError:
        told = await self.process.death() if self.process is not None else None
        return TickoverError(
            "provider-died",
            "Provider died",
            f"{verb} was not begun: the provider {self.name} has ended before. {told or ''}".rstrip(),
            address=address,
        )

    def _closed_meanwhile(self, verb: str, address: str) -> TickoverError:
        kind = OutcomeUnknown if verb in errors.CHANGING else TickoverError
        return kind(
            "outcome-unknown" if kind is OutcomeUnknown else "provider-failed",
            f"{verb} failed",
            f"The connection to the provider {self.name} was closed during {verb}.",
            address=address,
        )

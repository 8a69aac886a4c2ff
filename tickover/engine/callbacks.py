"""Calls back into the program: transforms and hooks, served by the SDK in the program's own process.

Owns: the channels to callback servers. Promises: one channel a target; a failed callback is one TickoverError
with the program's own words. Never: knows what a callback is for.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from pulumi.runtime.proto import callback_pb2, callback_pb2_grpc

from tickover.errors import TickoverError

M = TypeVar("M", bound=Message)

_LIMIT: Final = 400 * 1024 * 1024
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _LIMIT),
    ("grpc.max_send_message_length", _LIMIT),
)


class Callbacks:
    """The callback servers of one run."""

    def __init__(self) -> None:
        self._channels: dict[str, Any] = {}

    async def invoke(self, callback: callback_pb2.Callback, request: Message, answer: type[M]) -> M:
        """Call it. Raises TickoverError ``callback-failed``."""
        if callback.target not in self._channels:
            self._channels[callback.target] = grpc.aio.insecure_channel(callback.target, options=_OPTIONS)
        stub = callback_pb2_grpc.CallbacksStub(self._channels[callback.target])
        message = callback_pb2.CallbackInvokeRequest(
            token=callback.token, request=request.SerializeToString()
        )
        try:
            response = await stub.Invoke(message)
        except grpc.RpcError as error:
            detail = (error.details() if hasattr(error, "details") else "") or str(error)
            raise TickoverError("callback-failed", "Callback of the program failed", detail) from error
        result = answer()
        result.ParseFromString(response.response)
        return result

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

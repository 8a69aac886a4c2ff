"""The in-process monitor and engine log behind gRPC, called as a provider's process calls them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, resource_pb2, resource_pb2_grpc

from tests.support.plugin_programs import InstantMonitor
from tickover.engine.monitor import EngineLog
from tickover.engine.plugins.serve import served
from tickover.engine.provider import Severity


class Slow(InstantMonitor):
    """Answers no registration before `many` are waiting."""

    def __init__(self, many: int) -> None:
        super().__init__()
        self._barrier = threading.Barrier(many)

    def RegisterResource(self, request: Any) -> Any:
        self._barrier.wait(30)
        return super().RegisterResource(request)


def call(monitor: object, work: Any, engine: object | None = None) -> Any:
    async def go() -> Any:
        async with (
            served(monitor, engine or object()) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            return await work(channel)

    return asyncio.run(go())


def test_registrations_wait_side_by_side() -> None:
    async def go(channel: Any) -> Any:
        stub = resource_pb2_grpc.ResourceMonitorStub(channel)
        requests = (resource_pb2.RegisterResourceRequest(type="t", name=f"r{n}") for n in range(200))
        return await asyncio.gather(*(stub.RegisterResource(r) for r in requests))

    answers = call(Slow(200), go)
    assert {a.urn for a in answers} == {f"urn:pulumi:dev::p::t::r{n}" for n in range(200)}


@pytest.mark.parametrize(
    ("method", "request_", "code", "details"),
    [
        (
            "RegisterResource",
            resource_pb2.RegisterResourceRequest(name="taken"),
            grpc.StatusCode.ALREADY_EXISTS,
            "the name is taken",
        ),
        (
            "RegisterPackage",
            resource_pb2.RegisterPackageRequest(),
            grpc.StatusCode.UNIMPLEMENTED,
            "tickover's engine does not serve RegisterPackage",
        ),
    ],
)
def test_refusals_keep_their_status(method: str, request_: Any, code: grpc.StatusCode, details: str) -> None:
    async def go(channel: Any) -> Any:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(resource_pb2_grpc.ResourceMonitorStub(channel), method)(request_)
        return caught.value

    error = call(InstantMonitor(), go)
    assert (error.code(), error.details()) == (code, details)


def test_log_lines_of_a_provider_arrive_in_order() -> None:
    said: list[Any] = []

    async def go() -> None:
        log = EngineLog(lambda *line: said.append(line), asyncio.get_running_loop())
        async with served(InstantMonitor(), log) as address, grpc.aio.insecure_channel(address) as channel:
            stub = engine_pb2_grpc.EngineStub(channel)
            for n in range(5):
                await stub.Log(engine_pb2.LogRequest(severity=engine_pb2.INFO, urn="u", message=str(n)))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.StartDebugging(engine_pb2.StartDebuggingRequest())
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(go())
    assert said == [(Severity.INFO, "u", str(n), False) for n in range(5)]


def test_the_end_does_not_wait_for_a_call_that_hangs() -> None:
    waiting, released = threading.Event(), threading.Event()

    class Hanging:
        def SignalAndWaitForShutdown(self, request: Any) -> Empty:
            waiting.set()
            released.wait(30)
            return Empty()

    async def go() -> None:
        async with served(Hanging(), object()) as address:
            channel = grpc.aio.insecure_channel(address)
            stub = resource_pb2_grpc.ResourceMonitorStub(channel)
            hanging = asyncio.ensure_future(_outcome(stub.SignalAndWaitForShutdown(Empty())))
            await asyncio.to_thread(waiting.wait, 30)
        assert await hanging in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        await channel.close()

    asyncio.run(go())
    released.set()


async def _outcome(pending: Any) -> Any:
    try:
        await pending
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None

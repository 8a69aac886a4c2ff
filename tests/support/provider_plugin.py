"""The plugin as a process, and a gRPC client and an engine log beside it, for conformance tests.

Owns: the process and the two channels. Promises: all are gone after the with block. Never: asserts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from tickover.engine import wire

ROOT = Path(__file__).resolve().parents[2]


class EngineServer(engine_pb2_grpc.EngineServicer):
    """Keeps the lines that the plugin says."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, bool]] = []

    def Log(self, request: Any, context: Any) -> Empty:
        self.lines.append((request.urn, request.message, request.ephemeral))
        return Empty()


@dataclass
class Plugin:
    """A running plugin. stub: its service; engine: what it said."""

    stub: provider_pb2_grpc.ResourceProviderStub
    engine: EngineServer
    process: subprocess.Popen[str]
    urns: dict[str, str] = field(default_factory=dict)

    def urn(self, type_: str, name: str = "r") -> str:
        return f"urn:pulumi:dev::p::tickover:index:VllmService$tickover:fc:{type_}::{name}"

    def configure(self, url: str) -> Any:
        args = wire.encode({"endpoint": url, "accessKeyId": "id", "accessKeySecret": "secret"})
        return self.stub.Configure(
            provider_pb2.ConfigureRequest(args=args, acceptSecrets=True, acceptResources=True)
        )

    def check(self, urn: str, news: dict[str, Any], olds: dict[str, Any] | None = None) -> Any:
        request = provider_pb2.CheckRequest(urn=urn, news=wire.encode(news))
        if olds is not None:
            request.olds.CopyFrom(wire.encode(olds))
        return self.stub.Check(request)

    def create(self, urn: str, inputs: dict[str, Any], *, preview: bool = False) -> Any:
        return self.stub.Create(
            provider_pb2.CreateRequest(urn=urn, properties=wire.encode(inputs), preview=preview, timeout=30)
        )


def init_failure(error: grpc.RpcError) -> provider_pb2.ErrorResourceInitFailed | None:
    """The ErrorResourceInitFailed detail of an error, as the Pulumi CLI reads it."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            detail = provider_pb2.ErrorResourceInitFailed()
            if status.details and status.details[0].Unpack(detail):
                return detail
    return None


@contextmanager
def running(cwd: Path) -> Iterator[Plugin]:
    """The plugin, started as the CLI does: engine address as argument, port on the first line."""
    engine = EngineServer()
    log_server = grpc.server(ThreadPoolExecutor(2))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, log_server)
    log_port = log_server.add_insecure_port("127.0.0.1:0")
    log_server.start()
    process = subprocess.Popen(
        [sys.executable, "-m", "tickover.provider.plugin", "--logtostderr", f"127.0.0.1:{log_port}"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Plugin(provider_pb2_grpc.ResourceProviderStub(channel), engine, process)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        log_server.stop(None).wait()

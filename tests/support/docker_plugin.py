"""The built-in docker provider as a plugin of the real CLI: a judge of its answers, for tests only.

Owns: the process. Promises: the port is the first line on stdout; it ends with SIGTERM. Never: ships.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import grpc.aio
from pulumi.runtime.proto import provider_pb2_grpc

from tickover.provider.docker import factory
from tickover.provider.enginelog import EngineLog
from tickover.provider.plugin import Servicer


async def serve(engine: str) -> None:
    log = EngineLog()
    if engine:
        log.attach(engine)
    provider = factory(log)
    server = grpc.aio.server()
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider, log), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(port, flush=True)
    await stopped.wait()
    await server.stop(1)
    await provider.close()
    await log.close()


if __name__ == "__main__":
    asyncio.run(serve(next((a for a in sys.argv[1:] if not a.startswith("-")), "")))

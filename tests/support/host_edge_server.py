"""A whole host in a thread, with a pool of fixed instances, and the official client for it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.utils_models import Config

from tests.support.host_edge_fakes import FakePool
from tickover.host.auth import Credentials, load_credentials
from tickover.host.folder import prepare, single_host
from tickover.host.ports import Bound, bind, close_bound
from tickover.host.server import Host, HostPool, HostSettings, PoolNeeds


@dataclass
class Served:
    home: Path
    url: str
    credentials: Credentials
    pool: Any
    tls_port: int = 0

    def client(self, access_key_id: str | None = None, secret: str | None = None) -> Client:
        return Client(
            Config(
                access_key_id=access_key_id or self.credentials.access_key_id,
                access_key_secret=secret or self.credentials.access_key_secret,
                endpoint=self.url.removeprefix("http://"),
                protocol="http",
                region_id="local",
            )
        )


@contextlib.contextmanager
def served(
    home: Path, make_pool: Callable[[PoolNeeds], HostPool] | None = None, *, with_tls: bool = False
) -> Iterator[Served]:
    """A host on a free port until the block ends."""
    settings = HostSettings(home, port=0, grace_seconds=0.2)
    prepare(home)
    pools: list[Any] = []
    facts: list[dict[str, Any]] = []
    hosts: list[Host] = []
    ready = threading.Event()
    failures: list[BaseException] = []
    tls_sock = socket.create_server(("127.0.0.1", 0)) if with_tls else None
    tls = Bound(tls_sock, tls_sock.getsockname()[1]) if tls_sock is not None else None

    def made(needs: PoolNeeds) -> HostPool:
        pools.append(make_pool(needs) if make_pool else FakePool())
        found: HostPool = pools[0]
        return found

    def announce(what: dict[str, Any]) -> None:
        facts.append(what)
        ready.set()

    async def serve() -> None:
        with single_host(settings.directory):
            bound = bind("127.0.0.1", 0, settings.directory / "port")
            with contextlib.closing(bound.sock):
                hosts.append(Host(settings, bound, made, tls=tls))
                loops.append(asyncio.get_running_loop())
                await hosts[0].run(announce)

    loops: list[asyncio.AbstractEventLoop] = []

    def thread() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve())
        except BaseException as problem:  # noqa: BLE001 - raised again in the test's own thread
            failures.append(problem)
            ready.set()

    worker = threading.Thread(target=thread)
    worker.start()
    ready.wait(30)
    if failures:
        worker.join()
        raise failures[0]
    try:
        yield Served(
            home,
            facts[0]["url"],
            load_credentials(settings.directory / "credentials.json"),
            pools[0],
            tls.port if tls is not None else 0,
        )
    finally:
        loops[0].call_soon_threadsafe(hosts[0].request_stop)
        worker.join(30)
        close_bound(tls)
        assert not worker.is_alive()

"""A pool of fixed instances and small servers, for tests of the front door and the API."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from tickover.host.access import Told, unheard
from tickover.host.auth import Credentials
from tickover.host.clock import SystemClock
from tickover.host.db import Database
from tickover.host.door import Door
from tickover.host.door_context import DoorContext, Invocation, Whole
from tickover.host.door_upstream import UpstreamPool
from tickover.host.handover import NOBODY, Former
from tickover.host.http import HttpError, Response, json_response
from tickover.host.metrics import Metrics, Snapshot
from tickover.host.model import (
    InstanceView,
    Lease,
    Place,
    PoolStatus,
    Prefix,
    Refused,
    Usage,
    UsageRow,
    Waiting,
    Woken,
)
from tickover.host.registry import ObjectRegistry
from tickover.host.routes import RouteCache
from tickover.host.session_desk import SessionDesk
from tickover.host.session_records import SessionRecords
from tickover.host.states import ENDED
from tickover.host.store import Kind, Row, Store

CREDENTIALS = Credentials("1234567890123456", "LTAItest", "secret-of-test", "local", "admin-token-of-test")

FUNCTION = {
    "functionName": "chat-dev",
    "runtime": "custom-container",
    "handler": "not-used",
    "cpu": 2,
    "memorySize": 2048,
    "diskSize": 512,
    "timeout": 60,
    "instanceConcurrency": 4,
    "customContainerConfig": {"image": "process://local", "command": ["serve"], "port": 9000},
}


@dataclass
class FakePool:
    """Grants leases on the given ports in turn; counts what is given back."""

    ports: list[int] = field(default_factory=list)
    woke: bool = False
    refusal: Refused | None = None
    gate: asyncio.Event | None = None
    timeout: int | None = None
    granted: list[Lease] = field(default_factory=list)
    prefixes: list[Prefix | None] = field(default_factory=list)
    released: list[tuple[str, bool]] = field(default_factory=list)
    cancelled: int = 0
    notified: int = 0
    views: tuple[InstanceView, ...] = ()
    rows: tuple[UsageRow, ...] = ()
    log: str | None = None
    queue: tuple[Waiting, ...] = ()
    metrics: Metrics = field(default_factory=lambda: Metrics(SystemClock(), lambda: Snapshot((), {}, {})))

    async def start(self, former: Former = NOBODY) -> None: ...

    async def settle(self, seconds: float) -> None: ...

    async def hand_over(self) -> Former:
        return NOBODY

    def assume(self, lease: Lease) -> None: ...

    async def stop(self, *, keep_instances: bool) -> None: ...

    def notify(self) -> None:
        self.notified += 1

    def follow_sessions(self, count: Callable[[str], int]) -> None: ...

    def acquire_now(self, function_name: str, qualifier: str) -> Lease | None:
        if self.refusal is not None or self.gate is not None:
            return None
        return self._lease(function_name, qualifier)

    async def acquire(
        self,
        function_name: str,
        qualifier: str,
        *,
        request_id: str = "",
        session: str = "",
        place: Place | None = None,
        prefix: Prefix | None = None,
    ) -> Lease:
        self.prefixes.append(prefix)
        if self.refusal is not None:
            raise self.refusal
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return self._lease(function_name, qualifier, place)

    def _lease(self, function_name: str, qualifier: str, place: Place | None = None) -> Lease:
        number = len(self.granted)
        if place is not None:
            place.taken(f"i-{number}")
        port = self.ports[number % len(self.ports)]
        waited_ns = 12_000_000
        lease = Lease(
            f"i-{number}",
            function_name,
            qualifier,
            "0",
            "127.0.0.1",
            port,
            self.woke,
            waited_ns,
            self.timeout,
        )
        self.granted.append(lease)
        return lease

    def has_ended(self, instance_id: str) -> bool:
        return all(view.state in ENDED for view in self.views if view.instance_id == instance_id)

    def waiting(self, function_name: str | None = None) -> tuple[Waiting, ...]:
        return self.queue

    def release(self, lease: Lease, *, failed: bool = False) -> None:
        self.released.append((lease.instance_id, failed))

    async def wake(self, function_name: str, qualifier: str, count: int | None = None) -> Woken:
        return Woken(1, 0, 1)

    async def retire(self, function_name: str, qualifier: str | None = None) -> None: ...

    def status(self, function_name: str, qualifier: str) -> PoolStatus:
        return PoolStatus(1, 1)

    def instances(self, function_name: str | None = None) -> tuple[InstanceView, ...]:
        return tuple(v for v in self.views if function_name in (None, v.function_name))

    def usage(self, since_ns: int, until_ns: int) -> Usage:
        return Usage(since_ns, until_ns, self.rows, {})

    def log_path(self, instance_id: str) -> str | None:
        return self.log

    def stop_seconds(self) -> float:
        return 0.0

    def runtimes(self) -> Mapping[str, str]:
        return {"process": "fake"}

    def gpus(self) -> tuple[str, ...]:
        return ("no GPU: none was looked for",)


def registry_with(
    path: Path, *, trigger: dict[str, object] | None = None, function: Mapping[str, object] | None = None
) -> ObjectRegistry:
    """A registry with one function and an HTTP trigger on LATEST."""
    registry = ObjectRegistry(Store(path / "host.db"))
    spec = {**FUNCTION, **(function or {})}
    config = trigger if trigger is not None else {"authType": "anonymous", "methods": []}
    registry.put(
        Row(Kind.FUNCTION, "", "chat-dev", spec, {"functionId": "f-1", "nextVersion": 1}, 1, 1),
        Row(
            Kind.TRIGGER,
            "chat-dev",
            "http",
            {"triggerType": "http", "qualifier": "LATEST", "triggerConfig": config},
            {"triggerId": "t-1"},
            1,
            1,
        ),
    )
    return registry


async def _no_api(whole: Whole) -> Response | Invocation:
    return json_response({"path": whole.head.path, "body": whole.body.decode()})


def _accept(whole: Whole) -> None:
    if b"secret" not in whole.body:
        raise HttpError(403, "SignatureNotMatch", "no")


@contextlib.asynccontextmanager
async def open_door(
    pool: FakePool,
    registry: ObjectRegistry,
    api: Callable[[Whole], Awaitable[Response | Invocation]] = _no_api,
    admin: Callable[[Whole], Awaitable[Response]] | None = None,
    ended: Told = unheard,
    successor: int | None = None,
) -> AsyncIterator[int]:
    """A front door on a free port. successor: where the door of the host is that has the sessions by now."""
    sessions = SessionDesk(SessionRecords(Database(Path(":memory:"))), SystemClock())

    async def sessions_now() -> SessionDesk | None:
        return sessions if successor is None else None

    door = Door(
        DoorContext(
            pool=pool,
            registry=registry,
            routes=RouteCache(registry).current,
            api=api,
            admin=admin or _no_api,  # type: ignore[arg-type]
            verify=_accept,
            credentials=CREDENTIALS,
            upstreams=UpstreamPool(),
            sessions=sessions_now,
            address=lambda: ("127.0.0.1", successor or 0),
            ended=ended,
        )
    )
    sock = socket.create_server(("127.0.0.1", 0))
    await door.open(sock)
    try:
        yield sock.getsockname()[1]
    finally:
        await door.close(0.2)
        await sessions.close()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def instance(handler: Handler) -> AsyncIterator[int]:
    """A raw server that plays an instance."""
    writers: list[asyncio.StreamWriter] = []

    async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(on_connect, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """First line and headers (names lower case)."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.strip().split("\r\n")
    return first, {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}


async def read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size = int(await reader.readuntil(b"\r\n"), 16)
            body += await reader.readexactly(size)
            await reader.readexactly(2)
            if size == 0:
                return body
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return b""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with its first line, its headers and its body."""
    while not reader.at_eof():
        try:
            first, headers = await read_head(reader)
        except asyncio.IncompleteReadError:
            return
        body = await read_body(reader, headers)
        lines = "\n".join([first, *(f"{k}: {v}" for k, v in headers.items()), "", body.decode("latin-1")])
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(lines), lines.encode("latin-1"))
        )
        await writer.drain()


async def ask(port: int, raw: bytes) -> tuple[str, dict[str, str], bytes]:
    """One request on its own connection: first line, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    first, headers = await read_head(reader)
    body = await read_body(reader, headers)
    if not body and headers.get("connection") == "close" and "content-length" not in headers:
        body = await reader.read()
    writer.close()
    return first, headers, body


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Let the loop run until something has happened."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it did not happen in time")
        await asyncio.sleep(0.005)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """A scenario on the loop the host runs on, bounded to 20 s."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())

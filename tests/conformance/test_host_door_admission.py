"""The real door before the real pool: queues, refusals, wakes, callers that leave, instances that die."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.host_core import FAST, function, until
from tests.support.host_edge_fakes import (
    FakePool,
    ask,
    echo,
    instance,
    open_door,
    read_body,
    read_head,
    registry_with,
    run,
)
from tests.support.host_edge_server import served as whole_host
from tickover.host.client import AdminClient
from tickover.host.model import Waiting
from tickover.host.pool import PoolSettings, ReservedPool
from tickover.host.registry import ObjectRegistry
from tickover.host.store import Kind, Row

LIMIT = 2
HOLD = b"GET /fn/chat-dev/slow?seconds=60 HTTP/1.1\r\nHost: h\r\n\r\n"
PID = b"GET /fn/chat-dev/pid HTTP/1.1\r\nHost: h\r\n\r\n"


def declare(registry: ObjectRegistry, *arguments: str, target: int = 1, limit: int = LIMIT) -> None:
    """The function with the tiny server, and its reserved instances."""
    spec = function(*arguments, concurrency=limit).to_wire()
    meta = {"functionId": "f-1", "nextVersion": 1}
    registry.put(
        Row(Kind.FUNCTION, "", "chat-dev", spec, meta, 1, 1),
        Row(
            Kind.PROVISION,
            "chat-dev",
            "LATEST",
            {"defaultTarget": target, "alwaysAllocateCPU": False},
            {},
            1,
            1,
        ),
    )


@asynccontextmanager
async def served(
    path: Path, *arguments: str, target: int = 1, limit: int = LIMIT, settings: PoolSettings = FAST
) -> AsyncIterator[tuple[int, ReservedPool, ObjectRegistry]]:
    """A door on a pool of real processes."""
    registry = registry_with(path)
    declare(registry, *arguments, target=target, limit=limit)
    pool = ReservedPool(registry, path / "pool.db", path, {}, settings=settings)
    await pool.start()
    try:
        async with open_door(pool, registry) as port:  # type: ignore[arg-type]
            yield port, pool, registry
    finally:
        await pool.stop(keep_instances=False)


async def ready(pool: ReservedPool, count: int = 1) -> None:
    await until(lambda: [v.state.value for v in pool.instances()].count("ready") == count, "ready instances")


async def hold(port: int, pool: ReservedPool, count: int) -> list[asyncio.StreamWriter]:
    """Requests that last, one after the other."""
    writers: list[asyncio.StreamWriter] = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HOLD)
        writers.append(writer)
        await until(
            lambda: pool.instances()[0].in_flight + len(pool.waiting()) == len(writers), "the next request", 5
        )
    return writers


def test_a_wake_answers_everybody_it_has_room_for(tmp_path: Path) -> None:
    """Forty wakes from the freezer, six callers each, a limit of two: never a 502, a 503 or a herd."""

    async def scenario() -> None:
        settings = replace(FAST, linger_seconds=0.0)
        async with served(tmp_path, settings=settings) as (port, pool, _):
            most = 0
            statuses: Counter[str] = Counter()
            woke: Counter[str] = Counter()

            async def one() -> None:
                nonlocal most
                first, headers, _ = await ask(port, PID)
                most = max(most, *(view.in_flight for view in pool.instances()))
                statuses[first.split()[1]] += 1
                woke[headers["x-tickover-woke"]] += 1

            for _ in range(40):
                await until(lambda: [v.state.value for v in pool.instances()] == ["idle"], "an idle instance")
                await asyncio.gather(*(one() for _ in range(6)))
            assert statuses == {"200": 240}
            assert woke["true"] >= 40
            assert most <= LIMIT

    run(scenario)


def test_overflow_is_refused_at_once_and_nobody_else_suffers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as (port, pool, _):
            await ready(pool)
            writers = await hold(port, pool, LIMIT + FAST.queue_floor)
            await until(lambda: len(pool.waiting()) == FAST.queue_floor, "a full queue")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            took = []
            for _ in range(50):
                began = time.perf_counter()
                writer.write(PID)
                first, headers = await read_head(reader)
                took.append(time.perf_counter() - began)
                assert b"ResourceExhausted" in await read_body(reader, headers)
                assert (first.split()[1], headers["retry-after"]) == ("429", "1")
            assert min(took) <= 0.005  # the least: a busy machine delays the others
            for one in (*writers, writer):
                one.close()

    run(scenario)


@pytest.mark.parametrize(
    "body", [b"", b"Content-Length: 3000000\r\n\r\n" + bytes(3_000_000)], ids=["none", "3 MB"]
)
def test_a_caller_that_leaves_frees_its_place_within_10_ms(tmp_path: Path, body: bytes) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as (port, pool, _):
            await ready(pool)
            writers = await hold(port, pool, LIMIT)
            await until(lambda: pool.instances()[0].in_flight == LIMIT, "a busy instance")
            took = []
            for _ in range(10):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(HOLD if not body else HOLD.replace(b"GET", b"POST")[:-2] + body)
                await writer.drain()
                await until(lambda: len(pool.waiting()) == 1, "a waiting request")
                await asyncio.sleep(0.02)
                began = time.perf_counter()
                writer.transport.abort()
                while pool.waiting():  # noqa: ASYNC110 - every turn of the loop counts
                    await asyncio.sleep(0)
                took.append(time.perf_counter() - began)
            assert min(took) <= 0.010
            began = time.perf_counter()
            writers[0].transport.abort()  # one that is being served
            while pool.instances()[0].in_flight == LIMIT:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert time.perf_counter() - began < 2.0
            writers[1].close()

    run(scenario)


def test_a_changed_limit_holds_at_once_and_lets_those_who_wait_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path, limit=1) as (port, pool, registry):
            await ready(pool)
            pid = pool.instances()[0].pid
            writers = await hold(port, pool, 6)
            await until(lambda: len(pool.waiting()) == 5, "a queue")
            declare(registry, limit=4)
            pool.notify()
            await until(lambda: pool.instances()[0].in_flight == 4, "more requests at once")
            assert len(pool.waiting()) == 2
            declare(registry, limit=2)
            pool.notify()
            pool.status("chat-dev", "LATEST")  # looks at what is declared now
            for writer in writers[:3]:
                writer.close()
            await until(lambda: len(pool.waiting()) == 1, "one served")
            assert (pool.instances()[0].in_flight, pool.instances()[0].pid) == (2, pid)
            for writer in writers[3:]:
                writer.close()

    run(scenario)


def test_who_waits_for_a_cold_start_is_seen_with_place_and_phase(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path, "--slow-start", "0.5") as (port, pool, _):
            asked = [asyncio.ensure_future(ask(port, PID)) for _ in range(3)]
            await until(lambda: len(pool.waiting()) == 3, "three who wait")
            await until(lambda: pool.waiting("chat-dev")[0].phase == "starting", "a starting instance")
            seen = pool.waiting()
            assert [one.position for one in seen] == [1, 2, 3]
            assert pool.waiting("other") == ()
            answers = await asyncio.gather(*asked)
            ids = {headers["x-fc-request-id"] for _, headers, _ in answers}
            assert {one.request_id for one in seen} == ids
            assert all(int(headers["x-tickover-waited-ms"]) > 100 for _, headers, _ in answers)
            assert pool.waiting() == ()

    run(scenario)


def test_killed_instances_cost_no_request_that_was_not_answered_yet(tmp_path: Path) -> None:
    """Each killed while it works on requests of which nobody has seen a byte: another one is asked."""

    async def scenario() -> None:
        settings = replace(FAST, linger_seconds=60.0)
        async with served(tmp_path, target=2, limit=4, settings=settings) as (port, pool, _):
            for _ in range(4):
                await ready(pool, 2)
                raw = b"GET /fn/chat-dev/slow?seconds=0.2 HTTP/1.1\r\nHost: h\r\n\r\n"
                asked = [asyncio.ensure_future(ask(port, raw)) for _ in range(8)]
                await until(lambda: sum(v.in_flight for v in pool.instances()) == 8, "work")
                os.kill(pool.instances()[0].pid, signal.SIGKILL)
                answers = await asyncio.gather(*asked)
                assert {first.split()[1] for first, _, _ in answers} == {"200"}

    run(scenario)


def test_a_large_body_is_asked_of_another_instance_whole(tmp_path: Path) -> None:
    """5 MB, which is held on disk: the first instance ends in the middle of it."""
    body = os.urandom(5_000_000)
    seen: list[bytes] = []

    async def first_dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await read_head(reader)
        if not seen:
            seen.append(await reader.readexactly(1_000_000))
            writer.transport.abort()
            return
        seen.append(await read_body(reader, headers))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def scenario() -> None:
        async with instance(first_dies) as up:
            pool = FakePool([up])
            async with open_door(pool, registry_with(tmp_path)) as port:
                raw = b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
                first, _, _ = await ask(port, raw + body)
        assert first.split()[1] == "200"
        assert seen == [body[:1_000_000], body]
        assert pool.released == [("i-0", True), ("i-1", False)]

    run(scenario)


def test_a_body_that_waits_is_taken_in_whole_and_sent_as_the_instance_takes_it(tmp_path: Path) -> None:
    body = os.urandom(20_000_000)

    async def scenario() -> None:
        gate = asyncio.Event()
        async with (
            instance(echo) as up,
            open_door(FakePool([up], gate=gate), registry_with(tmp_path)) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**25)
            writer.write(b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 1_000_000):
                writer.write(b"f4240\r\n" + body[at : at + 1_000_000] + b"\r\n")
            writer.write(b"0\r\n\r\n")
            await asyncio.wait_for(writer.drain(), 5)
            gate.set()
            first, headers = await read_head(reader)
            assert first.split()[1] == "200"
            assert (await read_body(reader, headers)).endswith(body)
            writer.close()

    run(scenario)


def test_the_admin_api_tells_who_waits(tmp_path: Path) -> None:
    with whole_host(tmp_path) as host:
        host.pool.queue = (Waiting("r-1", "chat-dev", "live", 1, 2_500_000, "waking"),)
        answer = AdminClient(tmp_path).waiting("chat-dev")
    assert answer == [
        {
            "request_id": "r-1",
            "function": "chat-dev",
            "qualifier": "live",
            "position": 1,
            "waited_ms": 2,
            "phase": "waking",
        }
    ]

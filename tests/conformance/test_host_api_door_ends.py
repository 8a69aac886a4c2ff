"""The front door: instances that fail, slow callers, WebSockets, authentication."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

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
    until,
)
from tickover.host.door_exchange import ATTEMPTS
from tickover.host.model import InstanceState, InstanceView

GET = b"GET /fn/chat-dev/v1/models?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"


def test_dead_instance_costs_one_retry_on_another_lease(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(pool := FakePool([1, up]), registry_with(tmp_path)) as port,
        ):
            raw = b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
            first, headers, body = await ask(port, raw)
        assert first.split()[1] == "200"
        assert headers["x-fc-instance-id"] == "i-1"
        assert body.endswith(b"body")
        assert pool.released == [("i-0", True), ("i-1", False)]

    run(scenario)


def test_dead_instances_are_502(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_door(pool := FakePool([1]), registry_with(tmp_path)) as port:
            first, _, body = await ask(port, GET)
        assert first.split()[1] == "502"
        assert b"BadResponse" in body
        assert pool.released == [(f"i-{number}", True) for number in range(ATTEMPTS)]

    run(scenario)


@pytest.mark.parametrize(
    ("states", "asked", "status"),
    [((), 2, "200"), ((InstanceState.READY,), 1, "502"), ((InstanceState.FAILED,), 2, "200")],
    ids=["gone", "alive", "failed"],
)
def test_broken_before_the_answer_another_is_asked_if_the_first_has_ended(
    tmp_path: Path, states: tuple[InstanceState, ...], asked: int, status: str
) -> None:
    """One that lives may have done what was asked of it; asking another would do it twice."""
    seen: list[bytes] = []

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await read_head(reader)
        seen.append(await read_body(reader, headers))
        if len(seen) == 2:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def scenario() -> None:
        async with instance(dies) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            pool.views = tuple(
                InstanceView("i-0", "chat-dev", "LATEST", "0", state, 0, 1, up, 1) for state in states
            )
            raw = b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
            first, _, _ = await ask(port, raw)
        assert first.split()[1] == status
        assert seen == [b"body"] * asked
        assert pool.released == [("i-0", True), ("i-1", False)][:asked]

    run(scenario)


def test_kept_connection_closed_meanwhile_is_replaced_without_a_word(tmp_path: Path) -> None:
    connections: list[int] = []

    async def one_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await read_head(reader)  # closes as soon as a second request comes

    async def scenario() -> None:
        async with (
            instance(one_each) as up,
            open_door(pool := FakePool([up]), registry_with(tmp_path)) as port,
        ):
            for _ in range(2):
                first, _, body = await ask(port, GET)
                assert (first.split()[1], body) == ("200", b"ok")
        assert len(connections) == 2
        assert pool.released == [("i-0", False), ("i-1", False)]

    run(scenario)


def test_answer_cut_short_is_seen_as_cut(tmp_path: Path) -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")

    async def scenario() -> None:
        async with instance(short) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await read_head(reader)
            try:
                rest = await reader.read()
            except ConnectionResetError:
                rest = b""
            assert not rest.endswith(b"0\r\n\r\n")
            writer.close()
            await until(lambda: pool.released == [("i-0", True)])

    run(scenario)


def test_function_timeout_ends_the_request(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scenario() -> None:
        registry = registry_with(tmp_path)
        async with instance(silent) as up, open_door(pool := FakePool([up], timeout=1), registry) as port:
            first, _, body = await ask(port, GET)
        assert first.split()[1] == "504"
        assert b"FunctionTimeout" in body
        assert pool.released == [("i-0", False)]

    run(scenario)


def test_a_websocket_at_its_functions_timeout_is_cut_without_a_closing_frame(tmp_path: Path) -> None:
    """What a client reports as 1006."""

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi"
        )
        while await reader.read(100):
            pass

    async def scenario() -> None:
        registry = registry_with(tmp_path)
        async with instance(tunnel) as up, open_door(pool := FakePool([up], timeout=1), registry) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /fn/chat-dev/ws HTTP/1.1\r\nHost: h\r\n"
                b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            await read_head(reader)
            assert await reader.readexactly(2) == b"hi"
            try:
                rest = await reader.read()
            except ConnectionResetError:
                rest = b""
            assert rest == b""
            assert pool.released == [("i-0", False)]
            writer.close()

    run(scenario)


def test_large_answer_is_held_back_by_a_slow_caller(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    sent = [0]

    async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent[0] < size:
            writer.write(bytes(65536))
            sent[0] += 65536
            await writer.drain()

    async def scenario() -> None:
        async with instance(large) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65536)
            writer.write(GET)
            await read_head(reader)
            await asyncio.sleep(0.3)
            assert sent[0] < size // 2
            received = 0
            while received < size:
                received += len(await reader.read(1 << 20))
            assert received == size
            writer.close()

    run(scenario)


def test_websocket_bytes_pass_both_ways_until_either_side_ends(tmp_path: Path) -> None:
    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await read_head(reader)
        assert headers["upgrade"] == "websocket"
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello"
        )
        while data := await reader.read(100):
            writer.write(data.upper())

    async def scenario() -> None:
        async with instance(tunnel) as up, open_door(pool := FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /fn/chat-dev/ws HTTP/1.1\r\nHost: h\r\n"
                b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly"
            )
            first, headers = await read_head(reader)
            assert first.split()[1] == "101"
            assert headers["upgrade"] == "websocket"
            assert await reader.readexactly(10) == b"helloEARLY"
            writer.write(b"more")
            assert await reader.readexactly(4) == b"MORE"
            assert pool.released == []
            writer.write_eof()
            assert await reader.read() == b""
            await until(lambda: pool.released == [("i-0", False)])
            writer.close()

    run(scenario)


def test_upgrade_nobody_offers_is_served_as_plain_http(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(
                    b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
                )
                first, headers = await read_head(reader)
                body = await read_body(reader, headers)
                assert first.split()[1] == "200"
                assert b"upgrade" not in body
            writer.close()

    run(scenario)


def test_bearer_trigger(tmp_path: Path) -> None:
    trigger: dict[str, object] = {
        "authType": "bearer",
        "authConfig": '{"tokens": [{"token": "abc"}, {"token": "d"}]}',
    }

    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(FakePool([up]), registry_with(tmp_path, trigger=trigger)) as port,
        ):
            for header, status in ((b"", "401"), (b"Authorization: Bearer x\r\n", "403")):
                first, _, _ = await ask(port, b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\n" + header + b"\r\n")
                assert first.split()[1] == status
            for token in (b"abc", b"d"):
                raw = b"GET /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
                assert (await ask(port, raw))[0].split()[1] == "200"

    run(scenario)


def test_signed_trigger_checks_the_whole_body_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            instance(echo) as up,
            open_door(
                pool := FakePool([up]), registry_with(tmp_path, trigger={"authType": "function"})
            ) as port,
        ):
            start = b"POST /fn/chat-dev/ HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n"
            first, _, _ = await ask(port, start + b"\r\nsecret")
            assert first.split()[1] == "403"
            signed = start + b"Authorization: ACS3-HMAC-SHA256 Credential=x\r\n\r\n"
            assert (await ask(port, signed + b"forged"))[0].split()[1] == "403"
            assert pool.granted == []
            first, _, body = await ask(port, signed + b"secret")
            assert first.split()[1] == "200"
            assert body.endswith(b"secret")

    run(scenario)


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        (b"/fn/nobody/", "404", b"FunctionNotFound"),
        (b"/fn/chat-dev.live/", "404", b"TriggerNotFound"),
        (b"/else", "404", b"DomainRouteNotFound"),
    ],
)
def test_unknown_targets_have_fc_codes(tmp_path: Path, target: bytes, status: str, code: bytes) -> None:
    async def scenario() -> None:
        async with open_door(FakePool(), registry_with(tmp_path)) as port:
            first, headers, body = await ask(port, b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
            assert first.split()[1] == status
            assert code in body
            assert "x-fc-request-id" in headers

    run(scenario)

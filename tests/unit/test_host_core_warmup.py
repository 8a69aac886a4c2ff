"""What is asked of a starting instance, against small servers on the loopback."""

import asyncio
import contextlib

import pytest

from tests.support.host_core import function
from tickover.host.probe import NoAnswer, ask, connects
from tickover.host.warmup import HealthRule, health_rule, is_unhealthy, until_healthy, warm_up
from tickover.host.watchdog import Health, Watchdog, watchdog_of


@contextlib.asynccontextmanager
async def server(answer):
    """answer(request line, body) -> raw bytes."""
    asked = []

    async def serve(reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:  # a look whether the port is open
            writer.close()
            return
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0] or 0)
        line, body = head.splitlines()[0], await reader.readexactly(length)
        asked.append((line, body))
        writer.write(answer(line, len(asked)))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], asked


def http(status, body=b"{}"):
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def test_answers_of_all_framings():
    framings = {
        "length": http(200, b'{"a":1}'),
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'3;x=y\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
        "close": b'HTTP/1.0 200 OK\r\n\r\n{"a":1}',
    }

    async def main():
        for raw in framings.values():
            async with server(lambda line, n, raw=raw: raw) as (port, _):
                assert (await ask("127.0.0.1", port, "GET", "/", 2.0)).json() == {"a": 1}

    asyncio.run(main())


@pytest.mark.parametrize(
    "raw", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_what_is_not_http_is_no_answer(raw):
    async def main():
        async with server(lambda line, n: raw) as (port, _):
            with pytest.raises(NoAnswer):
                await ask("127.0.0.1", port, "GET", "/", 2.0)

    asyncio.run(main())


def test_nobody_listens():
    async def main():
        async with server(lambda line, n: http(200)) as (port, _):
            assert await connects("127.0.0.1", port, 1.0)
        assert not await connects("127.0.0.1", port, 1.0)
        with pytest.raises(NoAnswer):
            await ask("127.0.0.1", port, "GET", "/", 1.0)
        trouble = await until_healthy("127.0.0.1", port, HealthRule(None, 0, 1.0, 1), 0.05)
        assert (
            trouble == f"health check failed on port {port} in 0.05 seconds: nothing listens on port {port}"
        )

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "is_healthy"), [(199, False), (200, True), (399, True), (400, False), (503, False)]
)
def test_healthy_is_200_to_399(status, is_healthy):
    async def main():
        async with server(lambda line, n: http(status)) as (port, asked):
            trouble = await is_unhealthy("127.0.0.1", port, HealthRule("/health?x=1", 0, 1.0, 1))
            assert trouble == (None if is_healthy else f"GET /health?x=1 answered {status}")
            assert asked[0][0] == "GET /health?x=1 HTTP/1.1"

    asyncio.run(main())


def test_successes_have_to_come_in_a_row():
    async def main():
        statuses = {1: 503, 2: 200, 3: 503, 4: 200, 5: 200}
        async with server(lambda line, n: http(statuses[n])) as (port, asked):
            assert await until_healthy("127.0.0.1", port, HealthRule("/health", 0, 1.0, 2), 5.0) is None
            assert len(asked) == 5

    asyncio.run(main())


def test_the_rule_of_a_spec():
    assert health_rule(function()).path is None
    assert health_rule(function(health="/health")) == HealthRule("/health", 0, 1, 1)


def models_then(chat):
    return lambda line, n: http(200, b'{"data":[{"id":"m1"}]}') if "models" in line else chat


def test_the_warm_up_is_one_token_of_the_first_model():
    async def main():
        async with server(models_then(http(200))) as (port, asked):
            assert await warm_up("127.0.0.1", port, 2.0) is None
            line, body = asked[1]
            assert line == "POST /v1/chat/completions HTTP/1.1"
            assert b'"m1"' in body
            assert b'"max_tokens": 1' in body

    asyncio.run(main())


@pytest.mark.parametrize(
    "raw", [http(404), http(200, b"no json"), http(200, b'{"data": []}'), http(200, b"[1]"), b""]
)
def test_a_server_of_another_kind_needs_no_warm_up(raw):
    async def main():
        async with server(lambda line, n: raw) as (port, asked):
            assert await warm_up("127.0.0.1", port, 2.0) is None
            assert len(asked) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("chat", "said"),
    [(http(400), None), (http(500), "was answered 500"), (b"", "the answer is not HTTP")],
)
def test_a_model_that_cannot_answer_is_not_ready(chat, said):
    async def main():
        async with server(models_then(chat)) as (port, _):
            trouble = await warm_up("127.0.0.1", port, 2.0)
            assert trouble is None if said is None else said in trouble

    asyncio.run(main())


def test_checks_in_a_row_turn_the_verdict():
    watchdog, health, seen = Watchdog(3, failures=3, successes=2), Health(), ""
    for passed in "1001000010111":
        health = watchdog.after(health, passed == "1")
        seen += "1" if health.is_good else "0"
    assert seen == "1111110000011"


def test_the_watchdog_of_a_spec():
    assert watchdog_of(function()) is None
    assert watchdog_of(function(health="/health")) == Watchdog(3, 3, 1)

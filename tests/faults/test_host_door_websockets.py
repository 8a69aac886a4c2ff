"""WebSockets through the front door, the `websockets` library on both ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.host_edge_fakes import FakePool, open_door, registry_with, run, until

client = pytest.importorskip("websockets.asyncio.client")
server = pytest.importorskip("websockets.asyncio.server")
exceptions = pytest.importorskip("websockets.exceptions")

MESSAGE = st.one_of(
    st.text(max_size=200),
    st.binary(max_size=200),
    st.integers(0, 70_000).map(bytes),
    st.lists(st.binary(max_size=90), min_size=1, max_size=5),  # a message in several frames
)


@settings(max_examples=25, deadline=None, database=None)
@given(messages=st.lists(MESSAGE, max_size=12), compression=st.sampled_from([None, "deflate"]))
def test_messages_of_any_form_come_back_in_order(tmp_path_factory, messages, compression) -> None:
    path: Path = tmp_path_factory.mktemp("door")

    async def echo(connection) -> None:
        async for message in connection:
            await connection.send(message)

    async def scenario() -> None:
        async with server.serve(echo, "127.0.0.1", 0, compression=compression) as up:
            pool = FakePool([up.sockets[0].getsockname()[1]])
            async with open_door(pool, registry_with(path)) as port:
                url = f"ws://127.0.0.1:{port}/fn/chat-dev/ws"
                async with client.connect(url, compression=compression, max_size=None, proxy=None) as socket:
                    for message in messages:
                        await socket.send(message)
                    for message in messages:
                        whole = b"".join(message) if isinstance(message, list) else message
                        assert await socket.recv() == whole
                    assert pool.released == []  # an open socket is a request in flight
                    pong = await socket.ping()
                    await pong
                await until(lambda: pool.released == [("i-0", False)])

    run(scenario)


def test_close_codes_pass_both_ways(tmp_path: Path) -> None:
    codes: list[int] = []

    async def closes(connection) -> None:
        try:
            await connection.recv()
        except exceptions.ConnectionClosed as closed:
            codes.append(closed.rcvd.code)
            return
        await connection.close(4001, "enough")

    async def scenario() -> None:
        async with server.serve(closes, "127.0.0.1", 0) as up:
            pool = FakePool([up.sockets[0].getsockname()[1]])
            async with open_door(pool, registry_with(tmp_path)) as port:
                url = f"ws://127.0.0.1:{port}/fn/chat-dev/ws"
                async with client.connect(url, proxy=None) as socket:
                    await socket.send("x")
                    with pytest.raises(exceptions.ConnectionClosed):
                        await socket.recv()
                    assert (socket.close_code, socket.close_reason) == (4001, "enough")
                async with client.connect(url, proxy=None) as socket:
                    await socket.close(4002)
                await until(lambda: codes == [4002] and len(pool.released) == 2)

    run(scenario)


def test_timeout_closes_a_socket_with_1006(tmp_path: Path) -> None:
    async def silent(connection) -> None:
        await connection.wait_closed()

    async def scenario() -> None:
        async with server.serve(silent, "127.0.0.1", 0) as up:
            pool = FakePool([up.sockets[0].getsockname()[1]], timeout=1)
            async with open_door(pool, registry_with(tmp_path)) as port:
                async with client.connect(f"ws://127.0.0.1:{port}/fn/chat-dev/ws", proxy=None) as socket:
                    with pytest.raises(exceptions.ConnectionClosed):
                        await socket.recv()
                    assert socket.close_code == 1006
                assert pool.released == [("i-0", False)]

    run(scenario)

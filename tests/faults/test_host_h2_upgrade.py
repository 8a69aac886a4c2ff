"""A host is replaced while a caller of HTTP/2 has a stream open: it ends whole, newcomers go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.h2_peer import connect
from tests.support.upgrade_world import World, is_gone, until


def test_a_stream_ends_whole_and_its_connection_asks_for_nothing_new(tmp_path: Path) -> None:
    world, end = World(tmp_path), tmp_path / "end"
    try:
        first = world.start()
        asyncio.run(asyncio.wait_for(_scenario(world, end), 60))
        until(lambda: is_gone(first), "the end of the former host")
    finally:
        end.write_text("")
        world.close()


async def _scenario(world: World, end: Path) -> None:
    async with connect(world.port) as peer:
        number = peer.request(f"/fn/echo-dev/open?file={end}")
        answer = peer.answers[number]
        await peer.hear(lambda: len(answer.body) > 20)
        upgrade = asyncio.ensure_future(asyncio.to_thread(world.upgrade))
        await peer.hear(lambda: len(peer.goaways) == 2)
        assert peer.goaways == [(2**31 - 1, 0), (number, 0)]
        await upgrade
        size = len(answer.body)
        await peer.hear(lambda: len(answer.body) > size + 20)
        async with connect(world.port) as newcomer:
            hello = await newcomer.whole(newcomer.request("/fn/echo-dev/hello"))
            assert (hello.status, hello.body) == (200, b"hello")
        end.write_text("")
        await peer.whole(number)
        assert answer.is_complete
        lines = answer.body.split()
        assert lines == [b"%d" % n for n in range(len(lines))]
        await peer.closed()

"""Bytes that are written at once: in order, all of them, whatever the socket takes."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import uvloop

from tickover.host.door_write import NO_DESCRIPTOR, descriptor_of, write_now


def test_everything_arrives_in_order_over_a_socket_that_is_full_now_and_then():
    pieces = [bytes([number % 251]) * (1 + number * 37 % 5000) for number in range(2000)]

    async def scenario():
        here, there = socket.socketpair()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=here)
        reader, writer = await asyncio.open_connection(sock=there)
        descriptor = descriptor_of(transport)
        assert descriptor != NO_DESCRIPTOR
        waited = 0
        for piece in pieces:
            write_now(transport, descriptor, piece)
            waited += transport.get_write_buffer_size() > 0
        found = await reader.readexactly(sum(map(len, pieces)))
        transport.close()
        writer.close()
        await writer.wait_closed()
        return found, waited

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found, waited = runner.run(asyncio.wait_for(scenario(), 20))
    assert found == b"".join(pieces)
    assert waited > 0


def test_it_is_sent_before_the_loop_goes_on_and_a_peer_that_is_gone_is_told_by_the_transport():
    async def scenario():
        lost = asyncio.get_running_loop().create_future()

        class Told(asyncio.Protocol):
            def connection_lost(self, exc):
                lost.set_result(exc)

        here, there = socket.socketpair()
        there.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_connection(Told, sock=here)
        write_now(transport, descriptor_of(transport), b"now")
        assert there.recv(10) == b"now"
        there.close()
        write_now(transport, descriptor_of(transport), b"to nobody")
        return await lost

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.run(asyncio.wait_for(scenario(), 20)), BrokenPipeError)


def test_a_transport_that_encrypts_is_never_passed_by():
    plain = SimpleNamespace(get_extra_info={"socket": socket.socket(), "ssl_object": object()}.get)
    assert descriptor_of(plain) == NO_DESCRIPTOR
    plain.get_extra_info("socket").close()
    assert descriptor_of(SimpleNamespace(get_extra_info=lambda name: None)) == NO_DESCRIPTOR

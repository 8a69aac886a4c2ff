"""HTTPS through the real door: certificates by name, versions, protocols, a change without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certificate
from tests.support.host_edge_fakes import (
    CREDENTIALS,
    FakePool,
    echo,
    instance,
    read_body,
    read_head,
    registry_with,
    run,
)
from tickover.host.access import Told, unheard
from tickover.host.door import Door
from tickover.host.door_context import DoorContext
from tickover.host.door_upstream import UpstreamPool
from tickover.host.registry import ObjectRegistry
from tickover.host.routes import RouteCache
from tickover.host.store import Kind, Row
from tickover.host.tls import Certificates

OWN, NEXT, WILD = certificate("a.test"), certificate("a.test"), certificate("*.b.test")


def declare(registry: ObjectRegistry, name: str, **domain: Any) -> None:
    routes = {"routes": [{"path": "/*", "functionName": "chat-dev"}]}
    registry.put(Row(Kind.DOMAIN, "", name, {"routeConfig": routes, **domain}, {}, 1, 1))


@contextlib.asynccontextmanager
async def doors(registry: ObjectRegistry, up: int, ended: Told = unheard) -> AsyncIterator[tuple[int, int]]:
    """A front door's port, and its port for TLS."""
    door = Door(
        DoorContext(
            pool=FakePool([up]),
            registry=registry,
            routes=RouteCache(registry).current,
            api=None,  # type: ignore[arg-type]
            admin=None,  # type: ignore[arg-type]
            verify=None,  # type: ignore[arg-type]
            credentials=CREDENTIALS,
            upstreams=UpstreamPool(),
            sessions=None,  # type: ignore[arg-type]
            ended=ended,
            address=lambda: ("127.0.0.1", 0),
        )
    )
    plain, tls = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    ports = plain.getsockname()[1], tls.getsockname()[1]
    await door.open(plain)
    door.accept_tls(tls, Certificates(lambda: registry).choose)
    try:
        yield ports
    finally:
        await door.close(0.2)


async def get(
    port: int, name: str, cert: dict[str, str] | None, highest: ssl.TLSVersion | None = None
) -> tuple[str, bytes, str]:
    """First line, body and TLS version of one request; without a cert it goes in the clear."""
    context = None
    if cert is not None:
        context = ssl.create_default_context(cadata=cert["certificate"])
        context.maximum_version = highest or ssl.TLSVersion.MAXIMUM_SUPPORTED
    host = name if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    try:
        writer.write(f"GET /v1/x HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        first, headers = await read_head(reader)
        spoken = writer.get_extra_info("ssl_object")
        return first, await read_body(reader, headers), spoken.version() if spoken else ""
    finally:
        writer.close()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()


def test_each_name_gets_its_certificate_and_no_other_name_any(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=OWN)
    declare(registry, "*.b.test", protocol="HTTP,HTTPS", certConfig=WILD)
    declare(registry, "plain.test", protocol="HTTP")

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (_, port):
            for name, cert in (("a.test", OWN), ("x.b.test", WILD)):
                first, body, version = await get(port, name, cert)
                assert (first, version) == ("HTTP/1.1 200 OK", "TLSv1.3")
                assert body.startswith(b"GET /v1/x ")
            for name in ("plain.test", "unknown.test"):
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await get(port, name, OWN)

    run(scenario)


def test_protocols_of_a_domain_are_kept(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=OWN)
    declare(registry, "x.b.test", protocol="HTTP,HTTPS", certConfig=WILD)

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (plain, _):
            first, body, _ = await get(plain, "a.test", None)
            assert first.startswith("HTTP/1.1 403")
            assert b"HTTPS only" in body
            first, _, _ = await get(plain, "x.b.test", None)
            assert first == "HTTP/1.1 200 OK"

    run(scenario)


def test_lowest_version_is_by_domain(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=OWN, tlsConfig={"minVersion": "TLSv1.3"})
    declare(registry, "x.b.test", protocol="HTTPS", certConfig=WILD, tlsConfig={"minVersion": "TLSv1.2"})

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (_, port):
            _, _, version = await get(port, "x.b.test", WILD, ssl.TLSVersion.TLSv1_2)
            assert version == "TLSv1.2"
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await get(port, "a.test", OWN, ssl.TLSVersion.TLSv1_2)

    run(scenario)


def test_highest_version_and_suites_are_by_domain(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    only = {"minVersion": "TLSv1.2", "maxVersion": "TLSv1.2", "cipherSuites": [suite]}
    declare(registry, "a.test", protocol="HTTPS", certConfig=OWN, tlsConfig=only)
    declare(registry, "x.b.test", protocol="HTTPS", certConfig=WILD)

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (_, port):
            assert (await get(port, "a.test", OWN))[2] == "TLSv1.2"  # by a caller that could do 1.3
            assert (await get(port, "x.b.test", WILD))[2] == "TLSv1.3"
            for cipher, is_served in (("AES256-GCM-SHA384", True), ("AES128-GCM-SHA256", False)):
                context = ssl.create_default_context(cadata=OWN["certificate"])
                context.set_ciphers(f"ECDHE-ECDSA-{cipher}")
                try:
                    _, writer = await asyncio.open_connection(
                        "127.0.0.1", port, ssl=context, server_hostname="a.test"
                    )
                except (ssl.SSLError, ConnectionError):
                    assert not is_served
                    continue
                assert is_served
                writer.close()
                await writer.wait_closed()

    run(scenario)


def test_a_first_message_in_pieces_is_waited_for(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=OWN)

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (_, port):
            coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
            context = ssl.create_default_context(cadata=OWN["certificate"])
            tls = context.wrap_bio(coming, going, server_hostname="a.test")
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            hello = going.read()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for at in range(0, len(hello), 100):
                writer.write(hello[at : at + 100])
                await asyncio.sleep(0.001)
            coming.write(await reader.read(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            assert tls.version() == "TLSv1.3"
            writer.close()
            await writer.wait_closed()

    run(scenario)


def test_who_speaks_no_tls_or_leaves_is_let_go(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=OWN)

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (_, port):
            for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff\x01"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            assert (await get(port, "a.test", OWN))[0] == "HTTP/1.1 200 OK"

    run(scenario)


def test_a_changed_certificate_counts_at_once_and_open_connections_go_on(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=OWN)

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (_, port):
            context = ssl.create_default_context(cadata=OWN["certificate"])
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="a.test"
            )
            declare(registry, "a.test", protocol="HTTPS", certConfig=NEXT)
            with pytest.raises(ssl.SSLCertVerificationError):
                await get(port, "a.test", OWN)
            assert (await get(port, "a.test", NEXT))[0] == "HTTP/1.1 200 OK"
            writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            first, headers = await read_head(reader)
            assert first == "HTTP/1.1 200 OK"
            await read_body(reader, headers)
            writer.close()
            await writer.wait_closed()

    run(scenario)


def test_the_end_of_an_upgraded_connection_ends_it_over_tls_too(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=OWN)

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nbye"
        )
        await writer.drain()

    async def scenario() -> None:
        async with instance(once) as up, doors(registry, up) as (_, port):
            context = ssl.create_default_context(cadata=OWN["certificate"])
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="a.test"
            )
            writer.write(
                b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            first, _ = await read_head(reader)
            assert first.startswith("HTTP/1.1 101")
            assert await reader.read() == b"bye"
            writer.close()
            await writer.wait_closed()

    run(scenario)

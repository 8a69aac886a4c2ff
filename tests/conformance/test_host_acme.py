"""Certificates by ACME from pebble, a real server: both challenges, renewal, failures, what stays on disk."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import stat
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

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
    until,
)
from tests.support.pebble import free_ports, needs_pebble, pebble
from tickover.host import acme_desk
from tickover.host.acme_challenges import Challenges
from tickover.host.acme_desk import CertificateDesk
from tickover.host.acme_plan import AcmeSettings, OrderFailed
from tickover.host.acme_store import AcmeStore, Issued
from tickover.host.door import Door
from tickover.host.door_context import DoorContext
from tickover.host.door_upstream import UpstreamPool
from tickover.host.registry import ObjectRegistry
from tickover.host.routes import RouteCache
from tickover.host.store import Kind, Row
from tickover.host.tls import Certificates

NAME = "chat.example.test"


def declare(registry: ObjectRegistry, challenge: str) -> None:
    body = {
        "protocol": "HTTPS",
        "certConfig": {"certName": "acme", "certificate": f"acme://{challenge}"},
        "routeConfig": {"routes": [{"path": "/*", "functionName": "chat-dev"}]},
    }
    registry.put(Row(Kind.DOMAIN, "", NAME, body, {}, 1, 1))


@dataclass
class World:
    """A front door with its certificates, and a clock that can be set ahead."""

    registry: ObjectRegistry
    folder: Path
    http_port: int = 0
    tls_port: int = 0
    ahead: float = 0.0
    challenges: Challenges = field(default_factory=Challenges)
    desk: Any = None

    def now(self) -> float:
        return time.time() + self.ahead

    def new_desk(self, settings: AcmeSettings) -> CertificateDesk:
        self.desk = CertificateDesk(settings, self.folder, self.challenges, lambda: self.registry, self.now)
        return self.desk

    def problem(self) -> str:
        return str(self.desk.report()[0]["problem"])


@contextlib.asynccontextmanager
async def world(tmp_path: Path, up: int) -> AsyncIterator[World]:
    here = World(registry_with(tmp_path), tmp_path / "host")
    door = Door(
        DoorContext(
            pool=FakePool([up]),
            registry=here.registry,
            routes=RouteCache(here.registry).current,
            api=None,  # type: ignore[arg-type]
            admin=None,  # type: ignore[arg-type]
            verify=None,  # type: ignore[arg-type]
            credentials=CREDENTIALS,
            upstreams=UpstreamPool(),
            sessions=None,  # type: ignore[arg-type]
            address=lambda: ("127.0.0.1", 0),
            challenges=here.challenges,
        )
    )
    plain, tls = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    here.http_port, here.tls_port = plain.getsockname()[1], tls.getsockname()[1]

    class Now:
        """The desk that there is at the moment."""

        @property
        def generation(self) -> int:
            return id(here.desk) + int(here.desk.generation)

        def find(self, name: str) -> Any:
            return here.desk.find(name)

    await door.open(plain)
    door.accept_tls(tls, Certificates(lambda: here.registry, Now(), here.challenges.context).choose)
    try:
        yield here
    finally:
        if here.desk is not None:
            await here.desk.close()
        await door.close(0.2)


async def serial(here: World, root: str) -> int:
    """Of the certificate that a request was answered with; trusted by pebble's root only."""
    context = ssl.create_default_context(cadata=root)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", here.tls_port, ssl=context, server_hostname=NAME
    )
    writer.write(f"GET /v1/x HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    first, headers = await read_head(reader)
    assert first == "HTTP/1.1 200 OK"
    assert (await read_body(reader, headers)).startswith(b"GET /v1/x ")
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(shown).serial_number


@needs_pebble
@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_issued_served_renewed_and_kept_over_a_restart(tmp_path: Path, challenge: str) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, world(tmp_path, up) as here:
            declare(here.registry, challenge)
            with pebble(tmp_path, http_port=here.http_port, tls_port=here.tls_port) as authority:
                settings = AcmeSettings(authority.directory, "me@example.com", str(authority.ca_file))
                desk = here.new_desk(settings)
                desk.start()
                await until(lambda: desk.find(NAME) is not None or bool(here.problem()), 20)
                assert here.problem() == ""
                root = await asyncio.to_thread(authority.root)
                first = await serial(here, root)
                await desk.close()

                desk = here.new_desk(settings)  # as after a restart
                desk.start()
                assert await serial(here, root) == first
                report = desk.report()[0]
                here.ahead = report["next_order_s"] - time.time() - 60
                desk.wake()
                await asyncio.sleep(0)
                assert await serial(here, root) == first  # not yet

                before = desk.generation
                here.ahead += 120
                desk.wake()
                await until(lambda: desk.generation > before or bool(here.problem()), 20)
                assert here.problem() == ""
                second = await serial(here, root)
                assert second != first
        files = [path for path in (here.folder / "acme").rglob("*") if path.is_file()]
        assert {path.name for path in files} == {"account.json", f"{NAME}.json", "tries.json"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700

    run(scenario)


def test_a_failed_renewal_leaves_the_old_certificate_and_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, world(tmp_path, up) as here:
            declare(here.registry, "http-01")
            directory = f"https://localhost:{free_ports(1)[0]}/dir"  # nobody is there
            mine = certificate(NAME)
            store = AcmeStore(here.folder, directory)
            store.keep_certificate(NAME, Issued(mine["certificate"], mine["privateKey"]))
            desk = here.new_desk(AcmeSettings(directory))
            desk.start()
            root = mine["certificate"]
            first = await serial(here, root)
            assert here.problem() == ""
            here.ahead = desk.report()[0]["next_order_s"] - time.time() + 1
            desk.wake()
            await until(lambda: bool(here.problem()), 20)
            assert "cannot be reached" in here.problem()
            assert await serial(here, root) == first
            report = desk.report()[0]
            assert report["failures"] == 1
            assert 290 <= report["next_order_s"] - here.now() <= 380
            assert desk.orders.labels("failed")._value.get() == 1
            secret = desk.find(NAME).private_key.splitlines()[1]
            told = capfd.readouterr()
            assert secret not in told.out + told.err + repr(desk.find(NAME)) + repr(report)

    run(scenario)


def test_an_order_that_hangs_is_given_up_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acme_desk, "ORDER_SECONDS", 0.1)
    registry, never = registry_with(tmp_path), threading.Event()
    declare(registry, "http-01")

    def hang(name: str, challenge: str) -> Issued:
        never.wait(10)
        raise OrderFailed("too late")

    async def scenario() -> None:
        settings = AcmeSettings("https://acme.test/")
        desk = CertificateDesk(settings, tmp_path, Challenges(), lambda: registry, time.time, hang)
        desk.start()
        await until(lambda: bool(desk.report()[0]["problem"]))
        assert "not done within" in desk.report()[0]["problem"]
        await desk.close()
        desk = CertificateDesk(settings, tmp_path, Challenges(), lambda: registry, time.time, hang)
        desk.start()  # remembers, and does not order at once again
        assert desk.report()[0]["failures"] == 1
        await desk.close()

    try:
        run(scenario)
    finally:
        never.set()


@needs_pebble
def test_a_domain_that_is_not_ours_is_told_in_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with instance(echo) as up, world(tmp_path, up) as here:
            declare(here.registry, "http-01")
            with pebble(tmp_path, http_port=up, tls_port=up) as authority:  # which knows no challenge
                desk = here.new_desk(AcmeSettings(authority.directory, "", str(authority.ca_file)))
                desk.start()
                await until(lambda: bool(here.problem()), 20)
                assert "could not see that the domain is ours" in here.problem()
                assert desk.find(NAME) is None
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await serial(here, await asyncio.to_thread(authority.root))

    run(scenario)

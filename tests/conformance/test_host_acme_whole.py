"""Certificates by ACME through a whole host: declared by the API, told by status and metrics, refused."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.host_edge_fakes import FUNCTION
from tests.support.host_edge_server import Served, served
from tests.support.pebble import free_ports, needs_pebble, pebble
from tickover.fc.client import Connection, FcClient
from tickover.fc.errors import FcError
from tickover.host.client import AdminClient

NAME = "chat.example.test"
DOMAIN = {
    "domainName": NAME,
    "protocol": "HTTPS",
    "certConfig": {"certName": "acme", "certificate": "acme://http-01"},
    "routeConfig": {"routes": [{"path": "/v1/*", "functionName": "chat-dev"}]},
}


def call(host: Served, operation: str, body: dict[str, Any]) -> dict[str, Any]:
    who = host.credentials
    client = FcClient(Connection(host.url, who.access_key_id, who.access_key_secret))
    return asyncio.run(client.call(operation, body=body))


def test_a_host_without_an_authority_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKOVER_ACME_DIRECTORY", raising=False)
    with served(tmp_path) as host:
        call(host, "create_function", FUNCTION)
        with pytest.raises(FcError, match="TICKOVER_ACME_DIRECTORY") as caught:
            call(host, "create_custom_domain", DOMAIN)
        assert caught.value.code == "InvalidArgument"


@needs_pebble
def test_declared_issued_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = free_ports(1)[0]
    (tmp_path / "pebble.pem").touch()
    monkeypatch.setenv("TICKOVER_ACME_DIRECTORY", f"https://localhost:{api}/dir")
    monkeypatch.setenv("TICKOVER_ACME_CA_FILE", str(tmp_path / "pebble.pem"))
    with served(tmp_path, with_tls=True) as host:
        call(host, "create_function", FUNCTION)
        port = int(host.url.rpartition(":")[2])
        with pebble(tmp_path, http_port=port, tls_port=host.tls_port, api=api) as authority:
            assert call(host, "create_custom_domain", DOMAIN)["certConfig"] == DOMAIN["certConfig"]
            admin = AdminClient(host.home)
            until = time.monotonic() + 20
            while (found := admin.status()["certificates"][0])["expires_s"] is None:
                assert found["problem"] == ""
                assert time.monotonic() < until
                time.sleep(0.1)
            assert found["next_order_s"] < found["expires_s"]
            context = ssl.create_default_context(cadata=authority.root())
            with (
                socket.create_connection(("127.0.0.1", host.tls_port), timeout=10) as sock,
                context.wrap_socket(sock, server_hostname=NAME) as secure,
            ):
                secure.sendall(f"GET /else HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
                assert secure.recv(65536).startswith(b"HTTP/1.1 404")
        page = host.pool.metrics.page().decode()
        assert 'tickover_acme_orders_total{result="issued"} 1.0' in page
        assert f'tickover_acme_certificate_expiry_seconds{{domain="{NAME}"}}' in page

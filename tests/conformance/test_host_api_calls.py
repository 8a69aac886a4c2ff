"""Requests through a whole host: invocations, domains, the admin API."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from alibabacloud_fc20230330 import models as fc
from alibabacloud_tea_util.models import RuntimeOptions

from tests.support.certificates import certificate
from tests.support.host_edge_fakes import FUNCTION, FakePool, echo, instance
from tests.support.host_edge_server import Served, served
from tickover.errors import Exit, TickoverError
from tickover.host.client import AdminClient
from tickover.host.model import BillingClass, InstanceState, InstanceView, UsageRow


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """An instance that tells what it was asked, in a loop of its own."""
    ports: list[int] = []
    loop = asyncio.new_event_loop()
    ready, done = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with instance(echo) as port:
            ports.append(port)
            ready.set()
            await done.wait()

    worker = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    worker.start()
    ready.wait(10)
    yield ports[0]
    loop.call_soon_threadsafe(done.set)
    worker.join(10)
    loop.close()


@pytest.fixture
def host(tmp_path: Path, echo_port: int) -> Iterator[Served]:
    with served(tmp_path, lambda needs: FakePool([echo_port])) as running:
        client = running.client()
        client.create_function(fc.CreateFunctionRequest(body=fc.CreateFunctionInput().from_map(FUNCTION)))
        yield running


def test_invoke_function_posts_the_event(host: Served) -> None:
    request = fc.InvokeFunctionRequest(body=b'{"a": 1}')
    answer = host.client().invoke_function_with_options(
        "chat-dev", request, fc.InvokeFunctionHeaders(), RuntimeOptions()
    )
    text = answer.body.read().decode()
    assert text.startswith("POST /invoke HTTP/1.1\n")
    assert text.endswith('{"a": 1}')
    assert "authorization" not in text.lower()
    assert answer.headers["x-fc-instance-id"] == "i-0"


def test_invoke_asynchronously_says_it_cannot(host: Served) -> None:
    headers = fc.InvokeFunctionHeaders(x_fc_invocation_type="Async")
    with pytest.raises(Exception) as caught:
        host.client().invoke_function_with_options(
            "chat-dev", fc.InvokeFunctionRequest(body=b"{}"), headers, RuntimeOptions()
        )
    assert caught.value.code == "NotSupported"


def test_domain_reaches_the_function(host: Served) -> None:
    client = host.client()
    body = fc.CreateTriggerInput(
        trigger_name="web",
        trigger_type="http",
        trigger_config='{"authType": "anonymous", "methods": ["GET"]}',
    )
    client.create_trigger("chat-dev", fc.CreateTriggerRequest(body=body))
    routes = fc.RouteConfig(routes=[fc.PathConfig(path="/v1/*", function_name="chat-dev")])
    domain = fc.CreateCustomDomainInput(domain_name="chat.example.test", protocol="HTTP", route_config=routes)
    client.create_custom_domain(fc.CreateCustomDomainRequest(body=domain))
    with requests.Session() as session:
        session.trust_env = False
        found = session.get(f"{host.url}/v1/models", headers={"Host": "chat.example.test"}, timeout=10)
        assert found.text.startswith("GET /v1/models ")
        lost = session.get(f"{host.url}/else", headers={"Host": "chat.example.test"}, timeout=10)
        assert (lost.status_code, lost.json()["Code"]) == (404, "DomainRouteNotFound")
        own = session.get(f"{host.url}/fn/chat-dev/x", timeout=10)
        assert own.text.startswith("GET /x ")


def test_admin_api_needs_its_token(host: Served) -> None:
    with requests.Session() as session:
        session.trust_env = False
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = session.get(f"{host.url}/_tickover/v1/status", headers=headers, timeout=10)
            assert answer.status_code == 401


def test_admin_client_reads_what_the_pool_has(host: Served) -> None:
    host.pool.views = (InstanceView("i-1", "chat-dev", "LATEST", "0", InstanceState.IDLE, 0, 42, 4242, 1),)
    row = UsageRow("chat-dev", "i-1", BillingClass.BUSY, 5, 9, 4, 2.0, 2048, 512, "", 0)
    host.pool.rows = (row,)
    admin = AdminClient(host.home)
    status = admin.status()
    assert (status["functions"], status["instances"], status["runtimes"]) == (
        ["chat-dev"],
        1,
        {"process": "fake"},
    )
    (shown,) = admin.instances()
    assert (shown["instance_id"], shown["function"], shown["state"]) == ("i-1", "chat-dev", "idle")
    assert (shown["pid"], shown["port"], shown["qualifier"], shown["version_id"]) == (42, 4242, "LATEST", "0")
    usage = admin.usage(0, 100)
    assert (usage["since_ns"], usage["until_ns"], usage["calls"]) == (0, 100, {})
    assert usage["rows"][0]["billing_class"] == "busy"
    assert usage["rows"][0]["duration_ns"] == 4
    woken = {"qualifier": "LATEST", "woke": 1, "failed": 0, "awake": 1}
    assert admin.wake("chat-dev", "LATEST")["pools"] == [woken]
    with pytest.raises(TickoverError, match="ProvisionConfigNotFound: chat-dev has no reserved instances"):
        admin.wake("chat-dev")
    with pytest.raises(TickoverError, match="count must be a number from 1 on, not 0"):
        admin.wake("chat-dev", "LATEST", 0)
    with pytest.raises(TickoverError) as caught:
        admin.wake("nobody")
    assert caught.value.exit_code == Exit.RESOURCE


def test_broken_json_is_an_fc_error(host: Served) -> None:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{host.url}/2023-03-30/functions", data=b"{", timeout=10)
    assert answer.status_code in (400, 403)  # unsigned: refused before the body is read
    assert set(json.loads(answer.content)) == {"Code", "Message", "RequestId"}


def test_a_domain_over_https_through_the_official_client(tmp_path: Path, echo_port: int) -> None:
    own, later = certificate("chat.example.test"), certificate("chat.example.test")
    routes = fc.RouteConfig(routes=[fc.PathConfig(path="/*", function_name="chat-dev")])

    def cert(config: dict[str, str]) -> fc.CertConfig:
        return fc.CertConfig(
            cert_name="own", certificate=config["certificate"], private_key=config["privateKey"]
        )

    def fetched(port: int, config: dict[str, str]) -> str:
        context = ssl.create_default_context(cadata=config["certificate"])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
            context.wrap_socket(sock, server_hostname="chat.example.test") as secure,
        ):
            secure.sendall(b"GET /v1/x HTTP/1.1\r\nHost: chat.example.test\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: secure.recv(65536), b"")).decode()

    with served(tmp_path, lambda _: FakePool([echo_port]), with_tls=True) as host:
        client = host.client()
        client.create_function(fc.CreateFunctionRequest(body=fc.CreateFunctionInput().from_map(FUNCTION)))
        trigger = fc.CreateTriggerInput(
            trigger_name="web", trigger_type="http", trigger_config='{"authType": "anonymous"}'
        )
        client.create_trigger("chat-dev", fc.CreateTriggerRequest(body=trigger))
        made = fc.CreateCustomDomainInput(
            domain_name="chat.example.test", protocol="HTTPS", route_config=routes, cert_config=cert(own)
        )
        client.create_custom_domain(fc.CreateCustomDomainRequest(body=made))
        assert "GET /v1/x HTTP/1.1" in fetched(host.tls_port, own)
        update = fc.UpdateCustomDomainInput(cert_config=cert(later))
        client.update_custom_domain("chat.example.test", fc.UpdateCustomDomainRequest(body=update))
        assert "GET /v1/x HTTP/1.1" in fetched(host.tls_port, later)
        wrong = fc.UpdateCustomDomainInput(cert_config=cert({**own, "privateKey": later["privateKey"]}))
        with pytest.raises(Exception) as caught:
            client.update_custom_domain("chat.example.test", fc.UpdateCustomDomainRequest(body=wrong))
        assert caught.value.code == "InvalidArgument"
        assert "PRIVATE KEY" not in str(caught.value)

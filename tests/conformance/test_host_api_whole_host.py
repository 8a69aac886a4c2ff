"""A host with its real pool: declared by the official client, served by a real process."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import requests
from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client

from tests.support.host_edge_server import Served
from tickover.host.auth import load_credentials
from tickover.host.client import AdminClient
from tickover.host.daemon import host_status, start_host, stop_host

SERVER = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/stream"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for n in range(3):
                self.wfile.write(b"8\\r\\ndata: %d\\n\\r\\n" % n)
                self.wfile.flush()
                time.sleep(0.1)
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        self.send_response(200)
        body = (sys.argv[2] + " " + self.path).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Served]:
    home = tmp_path / "home"
    info = start_host(home, free_port())
    yield Served(home, info.url, load_credentials(home / "host" / "credentials.json"), None)
    stop_host(home)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def declare(client: Client, text: str, environment: Mapping[str, str] | None = None) -> None:
    """The function at a new version, alias `live` on it, one idling instance."""
    container = fc.CustomContainerConfig(
        image="process://local", entrypoint=[sys.executable, "-c", SERVER], command=["${port}", text]
    )
    spec = {
        "runtime": "custom-container",
        "handler": "not-used",
        "cpu": 1,
        "memory_size": 1024,
        "disk_size": 512,
        "timeout": 30,
        "instance_concurrency": 4,
        "custom_container_config": container,
        "environment_variables": {"TICKOVER_LINGER_SECONDS": "0.2", **(environment or {})},
    }
    client.create_function(
        fc.CreateFunctionRequest(body=fc.CreateFunctionInput(function_name="echo-dev", **spec))
    )
    client.publish_function_version(
        "echo-dev", fc.PublishFunctionVersionRequest(body=fc.PublishVersionInput())
    )
    alias = fc.CreateAliasInput(alias_name="live", version_id="1")
    client.create_alias("echo-dev", fc.CreateAliasRequest(body=alias))
    pool = fc.PutProvisionConfigInput(default_target=1, always_allocate_cpu=False, always_allocate_gpu=False)
    client.put_provision_config("echo-dev", fc.PutProvisionConfigRequest(qualifier="live", body=pool))
    trigger = fc.CreateTriggerInput(
        trigger_name="web",
        trigger_type="http",
        qualifier="live",
        trigger_config=json.dumps({"authType": "anonymous", "methods": ["GET", "POST"]}),
    )
    client.create_trigger("echo-dev", fc.CreateTriggerRequest(body=trigger))


def current(client: Client) -> int:
    request = fc.GetProvisionConfigRequest(qualifier="live")
    return int(client.get_provision_config("echo-dev", request).body.current)


def test_declare_serve_idle_wake_replace_and_stop(host: Served) -> None:
    client, admin = host.client(), AdminClient(host.home)
    declare(client, "first")
    until(lambda: current(client) == 1)
    (instance,) = admin.instances()
    with requests.Session() as session:
        session.trust_env = False
        url = client.get_trigger("echo-dev", "web").body.http_trigger.url_internet
        assert session.get(f"{url}/a?b=1", timeout=30).text == "first /a?b=1"
        until(lambda: admin.instances()[0]["state"] == "idle")
        woken = session.get(f"{url}/stream", timeout=30)
        assert woken.content == b"data: 0\ndata: 1\ndata: 2\n"
        assert woken.headers["x-tickover-woke"] == "true"
        assert woken.headers["x-fc-instance-id"] == instance["instance_id"]

        other = fc.CustomContainerConfig(
            image="process://local", entrypoint=[sys.executable, "-c", SERVER], command=["${port}", "second"]
        )
        update = fc.UpdateFunctionInput(custom_container_config=other)
        client.update_function("echo-dev", fc.UpdateFunctionRequest(body=update))
        client.publish_function_version(
            "echo-dev", fc.PublishFunctionVersionRequest(body=fc.PublishVersionInput())
        )
        moved = fc.UpdateAliasRequest(body=fc.UpdateAliasInput(version_id="2"))
        client.update_alias("echo-dev", "live", moved)
        answers = []
        until(lambda: answers.append(session.get(f"{url}/", timeout=30).text) or answers[-1] == "second /")  # type: ignore[func-returns-value]
        assert set(answers) == {"first /", "second /"} or set(answers) == {"second /"}

    usage = admin.usage()
    assert usage["calls"]["echo-dev"] >= 3
    assert {row["billing_class"] for row in usage["rows"]} == {"starting", "busy", "idle"}
    invoked = client.invoke_function("echo-dev", fc.InvokeFunctionRequest(qualifier="live", body=b"{}"))
    assert invoked.body.read() == b"second /invoke"
    pids = [i["pid"] for i in admin.instances()]
    assert pids
    stop_host(host.home)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 10)


def test_function_without_reserved_instances_is_429(host: Served) -> None:
    client = host.client()
    declare(client, "x")
    client.delete_provision_config("echo-dev", fc.DeleteProvisionConfigRequest(qualifier="live"))
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{host.url}/fn/echo-dev.live/", timeout=30)
    assert (answer.status_code, answer.json()["Code"]) == (429, "ResourceExhausted")


def test_instance_outlives_a_killed_host_and_is_adopted(host: Served) -> None:
    client = host.client()
    declare(client, "kept")
    until(lambda: current(client) == 1)
    (before,) = AdminClient(host.home).instances()
    os.kill(int(AdminClient(host.home).status()["pid"]), signal.SIGKILL)
    until(lambda: host_status(host.home) is None, 10)
    assert start_host(host.home).url == host.url
    until(lambda: current(client) == 1)
    (after,) = AdminClient(host.home).instances()
    assert (after["instance_id"], after["pid"]) == (before["instance_id"], before["pid"])
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{host.url}/fn/echo-dev.live/", timeout=30).text == "kept /"

"""The FC client over the official SDK: its table against the SDK, and its errors over real sockets."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client

from tests.support.provider_fake import FakeFc, serving
from tickover.fc.client import OPERATIONS, Connection, FcClient, Unreachable
from tickover.fc.errors import FcError


def call(url: str, operation: str, *path: str, **more: Any) -> dict[str, Any]:
    client = FcClient(Connection(url, "id", "hush", "local"))
    return asyncio.run(client.call(operation, *path, **more))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_the_table_is_the_sdks(name: str) -> None:
    operation = OPERATIONS[name]
    parameters = inspect.signature(getattr(Client, f"{name}_with_options")).parameters
    assert any(p in parameters for p in ("request", "tmp_req")) == bool(operation.request)
    if operation.request:
        fields = inspect.signature(getattr(models, operation.request)).parameters
        assert ("body" in fields) == operation.has_body


def test_a_body_arrives_whole() -> None:
    fake = FakeFc()
    body = {"functionName": "a", "description": None, "newerThanTheSdk": {"x": 1}}
    with serving(fake) as url:
        answer = call(url, "create_function", body=body)
    assert fake.bodies["create_function"] == body
    assert answer["state"] == "Active"


def test_the_qualifier_travels() -> None:
    fake = FakeFc()
    with serving(fake) as url:
        call(url, "create_function", body={"functionName": "a"})
        call(url, "put_provision_config", "a", body={"defaultTarget": 1}, qualifier="live")
    assert fake.calls[-1] == "put_provision_config a @live"


def test_a_proxy_of_the_environment_is_not_used_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(FakeFc()) as url:
        assert call(url, "create_function", body={"functionName": "a"})["functionName"] == "a"


def test_fcs_own_words_come_back() -> None:
    with serving(FakeFc()) as url, pytest.raises(FcError) as caught:
        call(url, "get_function", "nowhere")
    error = caught.value
    assert (error.code, error.http_status) == ("FunctionNotFound", 404)
    assert error.message == "function nowhere does not exist"


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>hello</html>"), (404, b"<html>no</html>")])
def test_something_else_that_answers(status: int, body: bytes) -> None:
    with answering(status, body) as url, pytest.raises(Unreachable, match="no FC answers there"):
        call(url, "get_function", "a")


def test_nobody_answers() -> None:
    with pytest.raises(Unreachable) as caught:
        call("http://127.0.0.1:1", "get_function", "a")
    assert str(caught.value) == "no answer from http://127.0.0.1:1: connection refused"


def test_the_sdk_is_not_loaded_before_the_first_call() -> None:
    code = "import sys, tickover.provider.provider; print('alibabacloud_fc20230330' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

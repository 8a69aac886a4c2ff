"""InvokeFunction by Alibaba's own client: what a call gets back, its log, and what is refused."""

from __future__ import annotations

import base64
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from alibabacloud_fc20230330 import models as fc
from alibabacloud_tea_util.models import RuntimeOptions

from tests.support.host_edge_server import Served
from tickover.host.auth import load_credentials
from tickover.host.daemon import start_host, stop_host

NAME = "event-dev"
# Prints as many lines as the event says, and answers with what it was told about the call.
SERVER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for number in range(event.get("lines", 0)):
            print(event["name"], "line", number, flush=True)
        names = ("x-fc-control-path", "x-fc-qualifier", "x-fc-version-id")
        told = {name: self.headers[name] for name in names}
        body = json.dumps({**told, "path": self.path}).encode()
        self.send_response(event.get("status", 200))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = int(sock.getsockname()[1])
    info = start_host(home, port)
    served = Served(home, info.url, load_credentials(home / "host" / "credentials.json"), None)
    try:
        declare(served)
        yield served
    finally:
        stop_host(home)


def declare(host: Served) -> None:
    """A function that takes one call at a time, alias `live` on its version 1 with one instance."""
    client = host.client()
    container = fc.CustomContainerConfig(
        image="process://local", entrypoint=[sys.executable, "-c", SERVER], command=["${port}"]
    )
    function = fc.CreateFunctionInput(
        function_name=NAME,
        runtime="custom-container",
        handler="not-used",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        timeout=30,
        instance_concurrency=1,
        custom_container_config=container,
    )
    client.create_function(fc.CreateFunctionRequest(body=function))
    client.publish_function_version(NAME, fc.PublishFunctionVersionRequest(body=fc.PublishVersionInput()))
    alias = fc.CreateAliasInput(alias_name="live", version_id="1")
    client.create_alias(NAME, fc.CreateAliasRequest(body=alias))
    for qualifier in ("live", "LATEST"):
        pool = fc.PutProvisionConfigInput(default_target=1)
        client.put_provision_config(NAME, fc.PutProvisionConfigRequest(qualifier=qualifier, body=pool))
    end = time.monotonic() + 20
    for qualifier in ("live", "LATEST"):
        request = fc.GetProvisionConfigRequest(qualifier=qualifier)
        while client.get_provision_config(NAME, request).body.current != 1:
            assert time.monotonic() < end, "no instance came up"
            time.sleep(0.02)


def invoke(host: Served, body: str, qualifier: str | None = "live", name: str = NAME, **headers: str) -> Any:
    request = fc.InvokeFunctionRequest(body=body.encode(), qualifier=qualifier)
    return host.client().invoke_function_with_options(
        name, request, fc.InvokeFunctionHeaders(**headers), RuntimeOptions()
    )


def refused(host: Served, **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(Exception) as caught:  # the client has two families of errors
        invoke(host, "{}", **arguments)
    error = caught.value
    return error.status_code, error.code, error.message


def test_an_event_reaches_the_version_of_the_qualifier(host: Served) -> None:
    answer = invoke(host, "{}")
    told = answer.body.read().decode()
    assert '"x-fc-qualifier": "live"' in told
    assert '"x-fc-version-id": "1"' in told
    assert '"x-fc-control-path": "/invoke", ' in told
    assert '"path": "/invoke"' in told
    assert answer.headers["x-fc-request-id"]
    assert "x-fc-log-result" not in answer.headers
    assert '"x-fc-version-id": "0"' in invoke(host, "{}", qualifier=None).body.read().decode()


def test_the_log_of_a_call_is_what_the_instance_wrote_in_it(host: Served) -> None:
    invoke(host, '{"name": "earlier", "lines": 3}').body.read()
    answer = invoke(host, '{"name": "mine", "lines": 2}', x_fc_log_type="Tail")
    assert base64.b64decode(answer.headers["x-fc-log-result"]).decode() == "mine line 0\nmine line 1\n"
    quiet = invoke(host, '{"name": "quiet"}', x_fc_log_type="Tail")
    assert quiet.headers["x-fc-log-result"] == ""


def test_of_a_long_log_the_last_4_kb(host: Served) -> None:
    answer = invoke(host, '{"name": "long", "lines": 1000}', x_fc_log_type="Tail")
    found = base64.b64decode(answer.headers["x-fc-log-result"])
    assert len(found) == 4096
    assert found.endswith(b"long line 999\n")


def test_calls_side_by_side_get_no_log(host: Served) -> None:
    update = fc.UpdateFunctionRequest(body=fc.UpdateFunctionInput(instance_concurrency=2))
    host.client().update_function(NAME, update)
    answer = invoke(host, '{"name": "x", "lines": 1}', qualifier="LATEST", x_fc_log_type="Tail")
    assert "x-fc-log-result" not in answer.headers


def test_an_error_of_the_function_is_a_200_that_says_so(host: Served) -> None:
    answer = invoke(host, '{"name": "bad", "status": 500, "lines": 1}', x_fc_log_type="Tail")
    assert answer.status_code == 200
    assert answer.headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert base64.b64decode(answer.headers["x-fc-log-result"]) == b"bad line 0\n"


def test_what_cannot_be_is_refused_in_words(host: Served) -> None:
    status, code, message = refused(host, x_fc_invocation_type="Async")
    assert (status, code) == (400, "NotSupported")
    assert "X-Fc-Invocation-Type Async" in message
    for header in ("x_fc_invocation_type", "x_fc_log_type"):
        status, code, message = refused(host, **{header: "Later"})
        assert (status, code) == (400, "InvalidArgument")
        assert "not 'Later'" in message
    assert refused(host, qualifier="nobody")[:2] == (404, "AliasNotFound")
    assert refused(host, qualifier="7")[:2] == (404, "VersionNotFound")
    assert refused(host, name="nobody")[:2] == (404, "FunctionNotFound")
    assert refused(host, qualifier="1")[:2] == (429, "ResourceExhausted")

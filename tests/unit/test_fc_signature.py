"""The signature check, against requests that the official client really makes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.utils_models import Config

from tickover.fc.errors import FcError
from tickover.fc.signature import canonical_request, sign, verify

KEY, SECRET = "LTAIexample", "s3cret-of-the-test"


@dataclass(frozen=True)
class Captured:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def made_at(self) -> datetime:
        date = next(v for k, v in self.headers.items() if k.lower() == "x-acs-date")
        return datetime.fromisoformat(date)

    def verified(self, **changes) -> str:
        now = changes.pop("now", self.made_at)
        secrets = changes.pop("secrets", {KEY: SECRET})
        request = replace(self, **changes)
        return verify(
            request.method, request.path, request.query, request.headers, request.body, secrets.get, now=now
        )


@dataclass
class Recorder:
    client: Client
    seen: list[Captured]

    def last(self) -> Captured:
        return self.seen[-1]


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    """The official client in front of a server that answers {} and keeps what came."""
    seen: list[Captured] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            seen.append(
                Captured(self.command, self.path, dict(self.headers.items()), self.rfile.read(length))
            )
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test output clean."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    config = Config(
        access_key_id=KEY,
        access_key_secret=SECRET,
        endpoint=f"127.0.0.1:{server.server_port}",
        protocol="http",
    )
    with pytest.MonkeyPatch.context() as environment:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            environment.delenv(name, raising=False)
        yield Recorder(Client(config), seen)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def put(recorder: Recorder) -> Captured:
    """A PUT with a body, a query and a name that needs encoding nowhere."""
    body = models.PutProvisionConfigInput(default_target=2, always_allocate_gpu=False)
    recorder.client.put_provision_config(
        "chat-dev", models.PutProvisionConfigRequest(qualifier="live", body=body)
    )
    return recorder.last()


def test_a_put_with_body_and_query_is_accepted(put):
    assert (put.method, put.path, put.query) == (
        "PUT",
        "/2023-03-30/functions/chat-dev/provision-config",
        "qualifier=live",
    )
    assert put.verified() == KEY


def test_a_get_without_body_is_accepted(recorder):
    recorder.client.get_function("chat-dev", models.GetFunctionRequest())
    assert recorder.last().verified() == KEY


def test_a_delete_is_accepted(recorder):
    recorder.client.delete_trigger("chat-dev", "http")
    assert recorder.last().verified() == KEY


def test_query_values_that_need_encoding_are_accepted(recorder):
    request = models.ListFunctionsRequest(prefix="a b/ü~+&=%", limit=5, next_token="")
    recorder.client.list_functions(request)
    assert "%" in recorder.last().query
    assert recorder.last().verified() == KEY


def test_path_names_that_need_encoding_are_accepted(recorder):
    recorder.client.get_custom_domain("*.chat example.com")
    assert "%" in recorder.last().path
    assert recorder.last().verified() == KEY


def test_a_chinese_body_is_accepted(recorder):
    body = models.CreateFunctionInput(function_name="f", description="你好", runtime="custom-container")
    recorder.client.create_function(models.CreateFunctionRequest(body=body))
    assert recorder.last().verified() == KEY


def test_an_invocation_with_raw_bytes_is_accepted(recorder):
    import io

    recorder.client.invoke_function(
        "chat-dev", models.InvokeFunctionRequest(qualifier="live", body=io.BytesIO(b"\x00\xff raw"))
    )
    assert recorder.last().body == b"\x00\xff raw"
    assert recorder.last().verified() == KEY


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"secrets": {KEY: "another"}}, "SignatureNotMatch", 403),
        ({"secrets": {}}, "InvalidAccessKeyID", 403),
        ({"body": b'{"defaultTarget": 3}'}, "SignatureNotMatch", 403),
        ({"body": b""}, "SignatureNotMatch", 403),
        ({"method": "DELETE"}, "SignatureNotMatch", 403),
        (
            {"target": "/2023-03-30/functions/chat-prod/provision-config?qualifier=live"},
            "SignatureNotMatch",
            403,
        ),
        (
            {"target": "/2023-03-30/functions/chat-dev/provision-config?qualifier=LATEST"},
            "SignatureNotMatch",
            403,
        ),
        ({"target": "/2023-03-30/functions/chat-dev/provision-config"}, "SignatureNotMatch", 403),
        (
            {"target": "/2023-03-30/functions/chat-dev/provision-config?qualifier=live&x=1"},
            "SignatureNotMatch",
            403,
        ),
    ],
)
def test_what_was_not_signed_is_refused(put, changes, code, status):
    with pytest.raises(FcError) as caught:
        put.verified(**changes)
    assert (caught.value.code, caught.value.http_status) == (code, status)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_an_old_or_early_request_is_refused(put, minutes):
    with pytest.raises(FcError) as caught:
        put.verified(now=put.made_at + timedelta(minutes=minutes))
    assert (caught.value.code, caught.value.http_status) == ("RequestTimeTooSkewed", 403)


@pytest.mark.parametrize("minutes", [-14, 14])
def test_clocks_may_differ_a_little(put, minutes):
    assert put.verified(now=put.made_at + timedelta(minutes=minutes)) == KEY


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {k: v for k, v in headers.items() if k.lower() != name}


@pytest.mark.parametrize("name", ["authorization", "x-acs-date", "x-acs-content-sha256", "host"])
def test_a_missing_header_is_named(put, name):
    with pytest.raises(FcError) as caught:
        put.verified(headers=without(put.headers, name), now=datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.code == "MissingRequiredHeader"
    assert name in str(caught.value).lower()


@pytest.mark.parametrize("name", ["x-acs-version", "x-acs-signature-nonce", "user-agent"])
def test_a_signed_header_that_was_changed_or_lost_is_refused(put, name):
    with pytest.raises(FcError, match="SignatureNotMatch"):
        put.verified(headers=without(put.headers, name))
    with pytest.raises(FcError, match="SignatureNotMatch"):
        put.verified(headers={**without(put.headers, name), name: "changed"})


def test_another_algorithm_is_refused(put):
    headers = {**without(put.headers, "authorization"), "Authorization": "acs LTAIexample:c2lnbmF0dXJl"}
    with pytest.raises(FcError) as caught:
        put.verified(headers=headers)
    assert (caught.value.code, caught.value.http_status) == ("InvalidArgument", 400)


def test_a_date_that_is_none_is_refused(put):
    headers = {**without(put.headers, "x-acs-date"), "x-acs-date": "yesterday"}
    with pytest.raises(FcError, match="InvalidArgument"):
        put.verified(headers=headers, now=datetime(2026, 1, 1, tzinfo=UTC))


def test_the_date_must_be_under_the_signature(put):
    """A caller who signs everything but the date could be replayed for ever."""
    signed = ("host", "x-acs-content-sha256")
    headers = {k.lower(): v for k, v in put.headers.items()}
    text = canonical_request(
        put.method, put.path, put.query, headers, signed, headers["x-acs-content-sha256"]
    )
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={KEY},SignedHeaders={';'.join(signed)},Signature={sign(SECRET, text)}"
    )
    with pytest.raises(FcError, match="x-acs-date is not under the signature"):
        put.verified(headers=headers)

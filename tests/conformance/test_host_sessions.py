"""Sessions through the front door: real hosts, real processes, the official client."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path

import pytest
import requests
from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client
from darabonba.exceptions import DaraException

from tests.conformance.test_host_api_whole_host import until
from tests.support.host_edge_server import Served, served
from tickover.host.auth import load_credentials
from tickover.host.client import AdminClient
from tickover.host.daemon import host_status, start_host, stop_host
from tickover.host.main import pool_maker

SERVER = str(Path(__file__).parents[1] / "support" / "session_server.py")
HEADER = {"affinityHeaderFieldName": "My-Session"}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("sessions"), pool_maker()) as found:
        yield found


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """A client that keeps no cookies of its own."""
    with requests.Session() as session:
        session.trust_env = False
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield session


def declare(client: Client, name: str, affinity: str, target: int = 2, **config: object) -> str:
    """A function with an affinity, its pool up; its URL path."""
    container = fc.CustomContainerConfig(
        image="process://local", entrypoint=[sys.executable, SERVER], command=["${port}"]
    )
    spec = fc.CreateFunctionInput(
        function_name=name,
        runtime="custom-container",
        handler="not-used",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        timeout=30,
        session_affinity=affinity,
        session_affinity_config=json.dumps(config) if config else None,
        custom_container_config=container,
        environment_variables={"TICKOVER_LINGER_SECONDS": "0.3"},
    )
    client.create_function(fc.CreateFunctionRequest(body=spec))
    pool = fc.PutProvisionConfigInput(
        default_target=target, always_allocate_cpu=False, always_allocate_gpu=False
    )
    client.put_provision_config(name, fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))
    trigger = json.dumps({"authType": "anonymous", "methods": ["GET", "POST", "DELETE"]})
    body = fc.CreateTriggerInput(
        trigger_name="web", trigger_type="http", qualifier="LATEST", trigger_config=trigger
    )
    client.create_trigger(name, fc.CreateTriggerRequest(body=body))
    request = fc.GetProvisionConfigRequest(qualifier="LATEST")
    until(lambda: int(client.get_provision_config(name, request).body.current) == target)
    return f"/fn/{name}"


def where(answer: requests.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-fc-instance-id"]


def test_cookie_keeps_a_session_on_its_instance(host: Served, http: requests.Session) -> None:
    url = host.url + declare(host.client(), "cookie", "GENERATED_COOKIE", sessionConcurrencyPerInstance=1)
    first = http.get(url)
    cookie = first.headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert (name, rest[36:]) == ("x-fc-cookie-session-id", "; Max-Age=21600")
    mine = {"Cookie": cookie.partition(";")[0]}
    second = http.get(url)  # without the cookie: another session, which has to be elsewhere
    assert where(second) != where(first)
    again = [http.get(url, headers=mine) for _ in range(20)]
    assert {where(answer) for answer in again} == {where(first)}
    assert not any("set-cookie" in answer.headers for answer in again)
    full = http.get(url)
    assert (full.status_code, full.json()["Code"]) == (429, "ResourceExhausted")
    assert where(http.get(url, headers=mine)) == where(first)


def test_header_sessions_spread_stay_and_wake_their_own_instance(
    host: Served, http: requests.Session
) -> None:
    url = host.url + declare(host.client(), "header", "HEADER_FIELD", **HEADER)
    generated = http.get(url)
    assert where(http.get(url, headers={"My-Session": generated.headers["my-session"]})) == where(generated)
    bad = http.get(url, headers={"My-Session": "-no"})
    assert (bad.status_code, bad.json()["Code"]) == (400, "InvalidArgument")

    def ask(number: int) -> tuple[str, str]:
        name = f"s{number % 8}"
        return name, where(requests.get(url + "/wait", headers={"My-Session": name}, timeout=20))

    with ThreadPoolExecutor(16) as threads:
        seen = set(threads.map(ask, range(48)))
    homes = dict(seen)
    assert len(seen) == len(homes) == 8
    assert len(set(homes.values())) == 2
    pool = AdminClient(host.home)
    until(lambda: {i["state"] for i in pool.instances("header")} == {"idle"})
    woken = http.get(url, headers={"My-Session": "s3"})
    assert (where(woken), woken.headers["x-tickover-woke"]) == (homes["s3"], "true")
    others = [i["state"] for i in pool.instances("header") if i["instance_id"] != homes["s3"]]
    assert others == ["idle"]


def test_a_session_whose_instance_died_begins_anew_or_says_so(host: Served, http: requests.Session) -> None:
    client = host.client()
    loose = host.url + declare(client, "loose", "HEADER_FIELD", **HEADER)
    strict = host.url + declare(client, "strict", "HEADER_FIELD", disableSessionIdReuse=True, **HEADER)
    mine = {"My-Session": "me"}
    for url in (loose, strict):
        first = http.get(url, headers=mine)
        os.kill(first.json()["pid"], signal.SIGKILL)
        name = url.rpartition("/")[2]
        dead = where(first)
        until(
            lambda name=name, dead=dead: (
                dead
                not in {  # type: ignore[misc]
                    i["instance_id"] for i in AdminClient(host.home).instances(name) if i["state"] != "failed"
                }
            )
        )
    assert where(http.get(loose, headers=mine))
    over = http.get(strict, headers=mine)
    assert (over.status_code, over.json()["Code"]) == (401, "SessionExpired")
    assert where(http.get(strict, headers={"My-Session": "new"}))


def test_mcp_streamable_ids_of_the_server_are_kept_and_deleted(host: Served, http: requests.Session) -> None:
    url = host.url + declare(host.client(), "streamable", "MCP_STREAMABLE") + "/mcp"
    first = http.post(url)
    mine = {"Mcp-Session-Id": first.headers["mcp-session-id"]}
    for _ in range(10):
        http.post(url)  # others
        assert where(http.post(url, headers=mine)) == where(first)
    assert where(http.get(url, headers=mine)) == where(first)
    assert where(http.delete(url, headers=mine)) == where(first)
    assert http.post(url, headers=mine).status_code == 401
    assert http.post(url, headers={"Mcp-Session-Id": "never-seen"}).status_code == 401


def test_mcp_sse_messages_go_to_the_streams_instance_until_it_ends(
    host: Served, http: requests.Session
) -> None:
    url = host.url + declare(host.client(), "sse", "MCP_SSE", sessionConcurrencyPerInstance=1)
    assert http.get(url + "/sse?x=1").status_code == 400
    streams = [http.get(url + "/sse", stream=True) for _ in range(2)]
    paths = []
    readers = [stream.iter_lines() for stream in streams]  # one that is let go closes its stream
    for lines in readers:
        paths.append(next(line for line in lines if line.startswith(b"data:"))[6:].decode())
    assert where(streams[0]) != where(streams[1])
    assert http.get(url + "/sse", timeout=5).status_code == 429
    for stream, path in zip(streams * 5, paths * 5, strict=True):
        assert where(http.post(url + path)) == where(stream)
    streams[0].close()
    until(lambda: http.post(url + paths[0]).status_code == 401, 10)
    assert where(http.post(url + paths[1])) == where(streams[1])
    streams[1].close()


def test_session_api_with_the_official_client(host: Served, http: requests.Session) -> None:
    client = host.client()
    url = host.url + declare(client, "api", "HEADER_FIELD", **HEADER)
    body = fc.CreateSessionInput(session_id="mine", session_ttlin_seconds=600)
    made = client.create_session("api", fc.CreateSessionRequest(body=body)).body
    assert (made.session_id, made.session_status, made.session_affinity_type) == (
        "mine",
        "Active",
        "HEADER_FIELD",
    )
    assert (made.session_ttlin_seconds, made.session_idle_timeout_in_seconds) == (600, 1800)
    assert where(http.get(url, headers={"My-Session": "mine"})) == made.container_id
    with pytest.raises(DaraException, match="SessionAlreadyExists"):
        client.create_session("api", fc.CreateSessionRequest(body=body))
    generated = client.create_session("api", fc.CreateSessionRequest(body=fc.CreateSessionInput())).body
    assert where(http.get(url, headers={"My-Session": generated.session_id})) == generated.container_id

    change = fc.UpdateSessionInput(session_idle_timeout_in_seconds=60, disable_session_id_reuse=True)
    client.update_session("api", "mine", fc.UpdateSessionRequest(body=change))
    seen = client.get_session("api", "mine", fc.GetSessionRequest()).body
    assert (seen.session_idle_timeout_in_seconds, seen.session_ttlin_seconds) == (60, 600)
    page = client.list_sessions("api", fc.ListSessionsRequest(limit=1)).body
    rest = client.list_sessions("api", fc.ListSessionsRequest(limit=1, next_token=page.next_token)).body
    assert {s.session_id for s in (*page.sessions, *rest.sessions)} == {"mine", generated.session_id}
    assert not rest.next_token

    client.delete_session("api", "mine", fc.DeleteSessionRequest())
    with pytest.raises(DaraException, match="SessionNotFound"):
        client.get_session("api", "mine", fc.GetSessionRequest())
    expired = client.list_sessions("api", fc.ListSessionsRequest(session_status="Expired")).body.sessions
    assert [s.session_id for s in expired] == ["mine"]
    assert http.get(url, headers={"My-Session": "mine"}).status_code == 401


def test_a_function_with_affinity_and_request_isolation_is_refused(host: Served) -> None:
    spec = fc.CreateFunctionInput(
        function_name="isolated",
        runtime="custom-container",
        handler="x",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        session_affinity="GENERATED_COOKIE",
        instance_isolation_mode="REQUEST_EXCLUSIVE",
        custom_container_config=fc.CustomContainerConfig(image="process://local"),
    )
    with pytest.raises(DaraException, match="REQUEST_EXCLUSIVE"):
        host.client().create_function(fc.CreateFunctionRequest(body=spec))


def test_sessions_outlive_a_killed_host(tmp_path: Path, http: requests.Session) -> None:
    home = tmp_path / "home"
    info = start_host(home)
    try:
        found = Served(home, info.url, load_credentials(home / "host" / "credentials.json"), None)
        url = info.url + declare(
            found.client(), "kept", "HEADER_FIELD", sessionConcurrencyPerInstance=4, **HEADER
        )
        homes = {name: where(http.get(url, headers={"My-Session": name})) for name in "abcdefgh"}
        assert len(set(homes.values())) == 2
        os.kill(int(AdminClient(home).status()["pid"]), signal.SIGKILL)
        until(lambda: host_status(home) is None, 10)
        assert start_host(home).url == info.url
        after = {name: where(http.get(url, headers={"My-Session": name})) for name in reversed("abcdefgh")}
        assert after == homes
    finally:
        stop_host(home)

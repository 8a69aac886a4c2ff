"""An alias of two versions on a whole host: declared by the official client, asked through the front door."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client

from tests.support.host_edge_server import Served
from tickover.host.auth import load_credentials
from tickover.host.daemon import start_host, stop_host

NAME = "two-dev"
CALLERS = 8
# Answers with the version that the host says it is; /slow takes a while.
SERVER = """
import asyncio, sys

class Peer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.held = transport, b""

    def data_received(self, data):
        self.held += data
        while b"\\r\\n\\r\\n" in self.held:
            head, _, self.held = self.held.partition(b"\\r\\n\\r\\n")
            found = [line for line in head.lower().split(b"\\r\\n") if line.startswith(b"x-fc-version-id")]
            version = found[0].partition(b":")[2].strip() if found else b"-"
            answer = b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n%b" % (len(version), version)
            delay = 0.3 if b"/slow" in head else 0
            asyncio.get_running_loop().call_later(delay, self.transport.write, answer)

async def main():
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Answered:
    sent_at: float
    status: int
    version: str


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = int(sock.getsockname()[1])
    info = start_host(tmp_path, port)
    yield Served(tmp_path, info.url, load_credentials(tmp_path / "host" / "credentials.json"), None)
    stop_host(tmp_path)


def publish(client: Client, command: str = "two") -> None:
    container = fc.CustomContainerConfig(
        image="process://local", entrypoint=[sys.executable, "-c", SERVER], command=["${port}", command]
    )
    update = fc.UpdateFunctionInput(custom_container_config=container)
    client.update_function(NAME, fc.UpdateFunctionRequest(body=update))
    request = fc.PublishFunctionVersionRequest(body=fc.PublishVersionInput())
    client.publish_function_version(NAME, request)


def declare(client: Client) -> None:
    """Versions 1 and 2, alias `live` on version 1 with one instance, and its HTTP trigger."""
    container = fc.CustomContainerConfig(
        image="process://local", entrypoint=[sys.executable, "-c", SERVER], command=["${port}", "one"]
    )
    function = fc.CreateFunctionInput(
        function_name=NAME,
        runtime="custom-container",
        handler="not-used",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        timeout=30,
        instance_concurrency=CALLERS,
        custom_container_config=container,
    )
    client.create_function(fc.CreateFunctionRequest(body=function))
    for command in ("one", "two"):
        publish(client, command)
    alias = fc.CreateAliasInput(alias_name="live", version_id="1")
    client.create_alias(NAME, fc.CreateAliasRequest(body=alias))
    pool = fc.PutProvisionConfigInput(default_target=1, always_allocate_cpu=True, always_allocate_gpu=True)
    client.put_provision_config(NAME, fc.PutProvisionConfigRequest(qualifier="live", body=pool))
    for qualifier in ("live", "2"):
        trigger = fc.CreateTriggerInput(
            trigger_name=f"web-{qualifier}",
            trigger_type="http",
            qualifier=qualifier,
            trigger_config=json.dumps({"authType": "anonymous", "methods": ["GET"]}),
        )
        client.create_trigger(NAME, fc.CreateTriggerRequest(body=trigger))
    wait_for(client, 1)


def wait_for(client: Client, count: int) -> None:
    end = time.monotonic() + 20
    request = fc.GetProvisionConfigRequest(qualifier="live")
    while True:
        seen = client.get_provision_config(NAME, request).body
        if seen.current == seen.target == count:
            return
        assert time.monotonic() < end, f"{seen.current} of {seen.target}, not {count}: {seen.current_error}"
        time.sleep(0.02)


def weigh(client: Client, version: str, weights: dict[str, float]) -> Any:
    body = fc.UpdateAliasInput(version_id=version, additional_version_weight=weights)
    return client.update_alias(NAME, "live", fc.UpdateAliasRequest(body=body)).body


async def call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, qualifier: str = "live"
) -> Answered:
    sent_at = time.monotonic()
    writer.write(f"GET /fn/{NAME}.{qualifier}{path} HTTP/1.1\r\nhost: h\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    body = await reader.readexactly(size)
    return Answered(sent_at, int(head.split(b" ", 2)[1]), body.decode())


async def load(
    url: str,
    count: int,
    stop: asyncio.Event | None = None,
    path: str = "/",
    found: list[Answered] | None = None,
) -> list[Answered]:
    """Requests of some callers, each on a connection of its own: so many, or until they are stopped."""
    left, found = iter(range(count)), [] if found is None else found

    async def caller() -> None:
        address, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(address, int(port))
        for _ in left:
            if stop is not None and stop.is_set():
                break
            found.append(await call(reader, writer, path))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return found


def test_ten_thousand_requests_split_exactly_and_a_change_is_there_at_once(host: Served) -> None:
    client = host.client()
    declare(client)
    weigh(client, "1", {"2": 0.05})
    read = client.get_alias(NAME, "live").body
    assert (read.version_id, read.additional_version_weight) == ("1", {"2": 0.05})
    wait_for(client, 2)

    answers = asyncio.run(load(host.url, 10_000))
    assert {answer.status for answer in answers} == {200}
    counts = Counter(answer.version for answer in answers)
    assert counts["2"] == pytest.approx(500, abs=1)
    assert counts["1"] + counts["2"] == 10_000

    weigh(client, "1", {"2": 0.5})
    counts = Counter(answer.version for answer in asyncio.run(load(host.url, 1000)))
    assert counts["2"] == pytest.approx(500, abs=2), "from the first request after the change on"


def test_promotion_and_rollback_under_load_lose_nothing_and_switch_within_a_second(host: Served) -> None:
    client = host.client()
    declare(client)
    weigh(client, "1", {"2": 0.5})
    wait_for(client, 2)

    async def scenario() -> tuple[list[Answered], list[tuple[float, float]]]:
        stop = asyncio.Event()
        quick: list[Answered] = []
        both = asyncio.gather(load(host.url, 10**9, stop, found=quick), load(host.url, 10**9, stop, "/slow"))
        changed = []
        for version, weights, former_seconds in (
            ("1", {}, 0.4), ("1", {"2": 0.5}, 2.4), ("2", {}, 0.4), ("1", {}, 2.4),
        ):  # fmt: skip
            await asyncio.sleep(former_seconds)
            began = time.monotonic()
            await asyncio.to_thread(weigh, client, version, weights)
            changed.append((began, time.monotonic()))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(wait_for, client, 1 + len(weights))
        end = time.monotonic() + 20  # version 1 has to start anew; version 2 serves until then
        while quick[-1].version != "1":
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        stop.set()
        _, slow = await both
        return [*quick, *slow], changed

    answers, changed = asyncio.run(scenario())
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    assert len(answers) > 500
    (_, back), (canary, _), (_, promoted), (back_again, _) = changed
    # One that waits at a change may be served by the version that is wanted then.
    assert {a.version for a in answers if back + 1.0 < a.sent_at < canary - 0.3} == {"1"}
    assert {a.version for a in answers if promoted + 1.0 < a.sent_at < back_again - 0.3} == {"2"}
    assert {a.version for a in answers if a.sent_at > back_again} >= {"1"}


def test_a_version_without_instances_says_so(host: Served) -> None:
    client = host.client()
    declare(client)

    async def scenario() -> Answered:
        address, _, port = host.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(address, int(port))
        answer = await call(reader, writer, "/", "2")
        writer.close()
        await writer.wait_closed()
        return answer

    answer = asyncio.run(scenario())
    assert answer.status == 429
    told = json.loads(answer.version)
    assert told["Code"] == "ResourceExhausted"
    assert told["Message"].startswith("version 2 of two-dev has no reserved instances of its own")

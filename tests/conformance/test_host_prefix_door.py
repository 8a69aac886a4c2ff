"""Prefix affinity through the front door: what of a body is looked at, and what is told."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import requests
from alibabacloud_fc20230330 import models as fc
from darabonba.exceptions import DaraException

from tests.conformance.test_host_api_whole_host import until
from tests.support.host_edge_fakes import (
    FakePool,
    ask,
    echo,
    instance,
    open_door,
    read_head,
    registry_with,
    run,
)
from tests.support.host_edge_server import served
from tickover.host import seating
from tickover.host.main import pool_maker
from tickover.host.model import Prefix
from tickover.host.prefix import prefix_of
from tickover.paths import host_dir

CHAT: Final = "/v1/chat/completions"
ON: Final = {"environmentVariables": {"TICKOVER_PREFIX_AFFINITY": "on"}}
SERVER: Final = str(Path(__file__).parents[2] / "bench" / "affinity" / "server.py")


def chat(system: str, *turns: str) -> bytes:
    said = [
        {"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(turns)
    ]
    return json.dumps({"messages": [{"role": "system", "content": system}, *said]}).encode()


BODY: Final = chat("You answer in rhymes. " * 60, "Hello?")
KNOWN: Final = prefix_of(CHAT, BODY)


def head(path: str = CHAT, method: str = "POST", fields: bytes = b"", size: int = len(BODY)) -> bytes:
    return b"%b /fn/chat-dev%b HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n" % (
        method.encode(),
        path.encode(),
        fields,
        size,
    )


def looked_at(
    tmp_path: Path, *pieces: bytes | float, function: Mapping[str, object] = ON
) -> tuple[list[Prefix | None], bytes]:
    """What the pool was asked with, and what the instance got, of a request sent piece by piece; a number is
    a pause in seconds."""
    pool = FakePool()
    got: list[bytes] = []

    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool, registry_with(tmp_path, function=function)) as port:
            pool.ports.append(up)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                if isinstance(piece, bytes):
                    writer.write(piece)
                else:
                    await asyncio.sleep(piece)
            _, headers = await read_head(reader)
            got.append(await reader.readexactly(int(headers["content-length"])))
            writer.close()

    run(scenario)
    return pool.prefixes, got[0]


def test_a_prompt_that_comes_in_pieces_is_looked_at_whole(tmp_path: Path) -> None:
    assert KNOWN is not None
    asked, got = looked_at(tmp_path, head(), 0.01, BODY[:700], 0.01, BODY[700:])
    assert asked == [KNOWN]
    assert got.endswith(BODY)


def test_a_chunked_prompt_is_looked_at_too(tmp_path: Path) -> None:
    start = head().replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    asked, _ = looked_at(tmp_path, start, b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
    assert asked == [KNOWN]


def test_a_slow_body_goes_on_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seating, "BODY_SECONDS", 0.02)
    asked, got = looked_at(tmp_path, head(), BODY[:700], 0.1, BODY[700:])
    assert asked == [None]
    assert got.endswith(BODY)


@pytest.mark.parametrize(
    ("path", "method", "fields", "body"),
    [
        ("/v1/embeddings", "POST", b"", BODY),
        (CHAT, "PUT", b"", BODY),
        (CHAT, "POST", b"Content-Encoding: gzip\r\n", BODY),
        (CHAT, "POST", b"", chat("short", "Hello?")),
        (CHAT, "POST", b"", chat("long " * 250_000, "Hello?")),
    ],
    ids=["path", "method", "encoded", "short", "large"],
)
def test_what_is_not_looked_at_is_served_all_the_same(
    tmp_path: Path, path: str, method: str, fields: bytes, body: bytes
) -> None:
    asked, got = looked_at(tmp_path, head(path, method, fields, len(body)), body)
    assert asked == [None]
    assert got.endswith(body)


def test_nothing_is_looked_at_unless_the_function_says_so(tmp_path: Path) -> None:
    asked, _ = looked_at(tmp_path, head(), BODY, function={})
    assert asked == []  # it had its lease at once
    off = {"environmentVariables": {"TICKOVER_PREFIX_AFFINITY": "off"}}
    (tmp_path / "off").mkdir()
    assert looked_at(tmp_path / "off", head(), BODY, function=off)[0] == []


def test_a_caller_that_waits_to_be_told_to_send_is_told(tmp_path: Path) -> None:
    pool = FakePool()

    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool, registry_with(tmp_path, function=ON)) as port:
            pool.ports.append(up)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(fields=b"Expect: 100-continue\r\n"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(BODY)
            first, _ = await read_head(reader)
            assert first == "HTTP/1.1 200 OK"
            writer.close()

    run(scenario)
    assert pool.prefixes == [None]


def test_a_caller_that_leaves_in_its_body_asks_for_nothing(tmp_path: Path) -> None:
    pool = FakePool()

    async def scenario() -> None:
        async with instance(echo) as up, open_door(pool, registry_with(tmp_path, function=ON)) as port:
            pool.ports.append(up)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head() + BODY[:10])
            await asyncio.sleep(0.02)
            writer.close()
            await asyncio.sleep(0.02)
            assert (await ask(port, head() + BODY))[0] == "HTTP/1.1 200 OK"

    run(scenario)
    assert pool.prefixes == [KNOWN]


def test_a_whole_host_keeps_prompts_apart_and_tells_what_was_known(tmp_path: Path) -> None:
    container = fc.CustomContainerConfig(
        image="process://local", entrypoint=[sys.executable, SERVER], command=["--port", "${port}"]
    )
    spec = fc.CreateFunctionInput(
        function_name="llm",
        runtime="custom-container",
        handler="not-used",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        instance_concurrency=8,
        custom_container_config=container,
        environment_variables=ON["environmentVariables"],
    )
    with served(tmp_path, pool_maker()) as host, requests.Session() as http:
        http.trust_env = False
        client = host.client()
        client.create_function(fc.CreateFunctionRequest(body=spec))
        pool = fc.PutProvisionConfigInput(
            default_target=2, always_allocate_cpu=True, always_allocate_gpu=True
        )
        client.put_provision_config("llm", fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))
        body = fc.CreateTriggerInput(
            trigger_name="web",
            trigger_type="http",
            qualifier="LATEST",
            trigger_config=json.dumps({"authType": "anonymous", "methods": ["POST"]}),
        )
        client.create_trigger("llm", fc.CreateTriggerRequest(body=body))
        request = fc.GetProvisionConfigRequest(qualifier="LATEST")
        until(lambda: int(client.get_provision_config("llm", request).body.current) == 2)
        homes: dict[int, list[tuple[str, str]]] = {number: [] for number in range(4)}
        for turn in range(4):
            for number, seen in homes.items():
                said = [f"{number}, {part}: " + "word " * 100 for part in range(2 * turn + 1)]
                answer = http.post(f"{host.url}/fn/llm{CHAT}", data=chat(f"System {number}. " * 80, *said))
                seen.append((answer.headers["x-tickover-prefix"], answer.headers["x-fc-instance-id"]))
        for seen in homes.values():
            assert [said for said, _ in seen] == ["miss", "hit", "hit", "hit"]
            assert len({home for _, home in seen}) == 1
        assert len({seen[0][1] for seen in homes.values()}) == 2
        assert "x-tickover-prefix" not in http.post(f"{host.url}/fn/llm/v1/embeddings", data=BODY).headers
        token = host.credentials.admin_token
        page = http.get(f"{host.url}/_tickover/v1/metrics", headers={"Authorization": f"Bearer {token}"}).text
        counts = [line for line in page.splitlines() if line.startswith("tickover_prefix_requests_total{")]
        name = 'tickover_prefix_requests_total{function="llm",qualifier="LATEST",result="%s"} %.1f'
        assert sorted(counts) == [name % ("hit", 12), name % ("miss", 4)]
        log = host_dir(host.home) / "access.log"
        until(lambda: log.exists() and log.read_text().count('"prefix": "hit"') == 12)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert {line["prefix"] for line in lines if line["path"].endswith(CHAT)} == {"hit", "miss"}
        session = fc.UpdateFunctionInput(session_affinity="GENERATED_COOKIE")
        with pytest.raises(DaraException, match="TICKOVER_PREFIX_AFFINITY: cannot be on together"):
            client.update_function("llm", fc.UpdateFunctionRequest(body=session))

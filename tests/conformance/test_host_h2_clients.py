"""Clients that nobody here wrote, in HTTP/2: curl, httpx, openai, a browser's EventSource over HTTPS."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI

from tests.conformance.test_front_clients import Model, Site, ask
from tests.conformance.test_host_tls_door import declare, doors
from tests.support.browser import browser, needs_browser
from tests.support.certificates import certificate
from tests.support.host_edge_fakes import FakePool, echo, instance, open_door, registry_with, run, until

CERT = certificate("a.test")


async def curl(*words: str) -> tuple[str, str]:
    """What curl got, and the version and status that it tells."""
    process = await asyncio.create_subprocess_exec(
        *(
            "curl",
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "10",
            "-w",
            "\n%{http_version} %{http_code}",
            *words,
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    answer, _, told = said.decode("latin-1").rpartition("\n")
    return answer, told


def test_curl_with_prior_knowledge(tmp_path: Path) -> None:
    """One request a connection: curl 7.88 fails by itself when it uses one without TLS again."""
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 20_000)

    async def scenario() -> None:
        async with instance(echo) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            url = f"http://127.0.0.1:{port}/fn/chat-dev/x"
            answer, told = await curl("--http2-prior-knowledge", url)
            assert (answer[:18], told) == ("GET /x HTTP/1.1\nho", "2 200")
            answer, told = await curl("--http2-prior-knowledge", "--data-binary", f"@{body}", url)
            assert told == "2 200"
            assert answer.encode("latin-1").endswith(body.read_bytes())
            assert (await curl("--http2-prior-knowledge", "-I", url))[1] == "2 200"

    run(scenario)


@pytest.mark.parametrize(("words", "version"), [(["--http2"], "2"), (["--http1.1"], "1.1")])
def test_curl_and_the_host_agree_over_tls(tmp_path: Path, words: list[str], version: str) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=CERT)
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(CERT["certificate"])
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 20_000)

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (_, port):
            there = ["--resolve", f"a.test:{port}:127.0.0.1", "--cacert", str(trusted)]
            answer, told = await curl(*words, *there, f"https://a.test:{port}/y")
            assert told == f"{version} 200"
            assert answer.startswith("GET /y HTTP/1.1\n")
            assert f"\nhost: a.test:{port}\n" in answer
            large = await curl(*words, *there, "--data-binary", f"@{body}", f"https://a.test:{port}/y")
            assert large[0].encode("latin-1").endswith(body.read_bytes())
            several = await curl(*words, *there, "-Z", *[f"https://a.test:{port}/y"] * 20)
            assert several[0].count("GET /y HTTP/1.1") == 20

    run(scenario)


def test_httpx_streams_among_others(tmp_path: Path) -> None:
    """It sends no reset for a stream that it drops: the instance hears of it when the connection goes."""

    async def scenario() -> None:
        model, pool = Model(), FakePool()
        async with instance(model) as up, open_door(pool, registry_with(tmp_path)) as port:
            pool.ports.append(up)
            url = f"http://127.0.0.1:{port}/fn/chat-dev/v1/chat/completions"
            endless = {"stream": True, "messages": ask("endless")}
            async with (
                httpx.AsyncClient(http1=False, http2=True, trust_env=False) as client,
                client.stream("POST", url, json=endless) as stream,
            ):
                assert (stream.http_version, stream.status_code) == ("HTTP/2", 200)
                async for text in stream.aiter_text():
                    if "w3 " in text:
                        break
                calls = (client.post(url, json={"messages": ask("hi")}) for _ in range(50))
                assert {other.status_code for other in await asyncio.gather(*calls)} == {200}
                assert not model.left.is_set()
            async with asyncio.timeout(15):
                await model.left.wait()
            await until(lambda: len(pool.released) == 51)

    run(scenario)


def test_openai_over_http_2(tmp_path: Path) -> None:
    async def scenario() -> None:
        model = Model()
        async with (
            instance(model) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            httpx.AsyncClient(http1=False, http2=True, trust_env=False) as http,
        ):
            base = f"http://127.0.0.1:{port}/fn/chat-dev/v1"
            client = AsyncOpenAI(base_url=base, api_key="none", http_client=http)
            stream = await client.chat.completions.create(model="m", messages=ask("hi"), stream=True)
            assert [part.choices[0].delta.content async for part in stream] == ["w0 ", "w1 ", "w2 "]

    run(scenario)


def test_a_caller_that_offers_nothing_speaks_http_1_over_tls(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=CERT)

    async def scenario() -> None:
        async with instance(echo) as up, doors(registry, up) as (_, port):
            for offer, settled in (([], None), (["http/1.1"], "http/1.1"), (["h2"], "h2")):
                context = ssl.create_default_context(cadata=CERT["certificate"])
                if offer:
                    context.set_alpn_protocols(offer)
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=context, server_hostname="a.test"
                )
                assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == settled
                writer.close()

    run(scenario)


@needs_browser
def test_a_browsers_event_source_over_https_speaks_http_2(tmp_path: Path) -> None:
    registry = registry_with(tmp_path)
    declare(registry, "a.test", protocol="HTTPS", certConfig=CERT)
    versions: set[str] = set()

    async def scenario() -> None:
        site = Site()
        async with (
            instance(site) as up,
            doors(registry, up, lambda trace: versions.add(trace.protocol)) as (_, port),
        ):
            words = ("--ignore-certificate-errors", "--host-resolver-rules=MAP a.test 127.0.0.1")
            async with browser(f"https://a.test:{port}/page", tmp_path, *words), asyncio.timeout(15):
                seen = await site.report
        assert seen == [f"event {number}" for number in range(1, 6)]
        assert site.last_ids == ["", "3"]

    run(scenario)
    assert versions == {"2"}

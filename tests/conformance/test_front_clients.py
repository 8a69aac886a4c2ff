"""Clients that nobody here wrote, at the front door: openai, websockets, curl, a browser's EventSource."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.support.browser import browser, needs_browser
from tests.support.host_edge_fakes import FakePool, instance, open_door, read_head, registry_with, run, until
from tickover.host.model import Refused

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def completion(text: str, *, is_stream: bool) -> bytes:
    """One of OpenAI's answers, or one event of a stream of them."""
    said = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": None, "delta" if is_stream else "message": said}
    kind = "chat.completion.chunk" if is_stream else "chat.completion"
    found = json.dumps({"id": "c-1", "object": kind, "created": 1, "model": "m", "choices": [choice]})
    return b"data: " + found.encode() + b"\n\n" if is_stream else found.encode()


class Model:
    """A server that speaks as a model server does: words without an end for `stream: endless`."""

    def __init__(self) -> None:
        self.sent = 0
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await read_head(reader)
        asked = json.loads(await reader.readexactly(int(headers["content-length"])))
        if not asked.get("stream"):
            body = completion("Paris.", is_stream=False)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        writer.write(HEAD % b"text/event-stream")
        is_endless = asked["messages"][0]["content"] == "endless"
        gone = asyncio.ensure_future(reader.read())
        while not gone.done() and (is_endless or self.sent < 3):
            writer.write(chunk(completion(f"w{self.sent} ", is_stream=True)))
            self.sent += 1
            await asyncio.wait([gone], timeout=0.005)
        if gone.done():
            self.left.set()
            return
        gone.cancel()
        writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


@contextlib.asynccontextmanager
async def openai(port: int) -> AsyncIterator[AsyncOpenAI]:
    base = f"http://127.0.0.1:{port}/fn/chat-dev/v1"
    async with AsyncOpenAI(base_url=base, api_key="none", max_retries=2) as client:
        yield client


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_openai_answers_and_streams(tmp_path: Path) -> None:
    async def scenario() -> None:
        model = Model()
        async with (
            instance(model) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
            openai(port) as client,
        ):
            answer = await client.chat.completions.create(model="m", messages=ask("hi"))
            assert answer.choices[0].message.content == "Paris."
            stream = await client.chat.completions.create(model="m", messages=ask("hi"), stream=True)
            assert [part.choices[0].delta.content async for part in stream] == ["w0 ", "w1 ", "w2 "]

    run(scenario)


def test_openai_that_stops_listening_stops_the_model(tmp_path: Path) -> None:
    async def scenario() -> None:
        model, pool = Model(), FakePool()
        async with (
            instance(model) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            openai(port) as client,
        ):
            pool.ports.append(up)
            stream = await client.chat.completions.create(model="m", messages=ask("endless"), stream=True)
            async for part in stream:
                if part.choices[0].delta.content == "w3 ":
                    break
            await stream.close()
            async with asyncio.timeout(15):
                await model.left.wait()
            await until(lambda: len(pool.released) == 1)

    run(scenario)


def test_openai_tries_again_when_the_queue_was_full(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = FakePool(refusal=Refused(429, "ResourceExhausted", "the queue is full", 1))
        async with (
            instance(Model()) as up,
            open_door(pool, registry_with(tmp_path)) as port,
            openai(port) as client,
        ):
            pool.ports.append(up)
            asked = asyncio.ensure_future(client.chat.completions.create(model="m", messages=ask("hi")))
            await asyncio.sleep(0.3)
            assert not asked.done()
            pool.refusal = None
            assert (await asked).choices[0].message.content == "Paris."

    run(scenario)


async def _talk(connection: ServerConnection) -> None:
    async for said in connection:
        if said == "close":
            await connection.close(4001, "as asked")
            return
        await connection.send(said)


def test_websockets_talk_both_ways_and_close_with_their_own_code(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = FakePool()
        async with (
            serve(_talk, "127.0.0.1", 0, subprotocols=[websockets.Subprotocol("chat")]) as server,
            open_door(pool, registry_with(tmp_path)) as port,
        ):
            pool.ports.append(next(iter(server.sockets)).getsockname()[1])
            url = f"ws://127.0.0.1:{port}/fn/chat-dev/talk"
            async with connect(url, subprotocols=[websockets.Subprotocol("chat")]) as client:
                assert client.subprotocol == "chat"
                for said in ("hello", b"\x00\xff" * 300_000, ["in ", "parts"], ""):
                    await client.send(said)
                    assert await client.recv() == ("in parts" if isinstance(said, list) else said)
                await (await client.ping())
                assert pool.released == []  # open: in flight
                await client.send("close")
                await client.wait_closed()
                assert (client.close_code, client.close_reason) == (4001, "as asked")
            await until(lambda: len(pool.released) == 1)

    run(scenario)


def test_a_cut_websocket_is_seen_as_cut(tmp_path: Path) -> None:
    async def cut(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    async def scenario() -> None:
        pool = FakePool()
        async with serve(cut, "127.0.0.1", 0) as server, open_door(pool, registry_with(tmp_path)) as port:
            pool.ports.append(next(iter(server.sockets)).getsockname()[1])
            async with connect(f"ws://127.0.0.1:{port}/fn/chat-dev/") as client:
                await client.send("cut me")
                with pytest.raises(websockets.ConnectionClosedError):
                    await client.recv()
                assert client.close_code == 1006

    run(scenario)


@pytest.mark.parametrize("words", [["--http2"], ["--http1.0"], ["--compressed", "--raw"]])
def test_curl_gets_the_answer_whatever_it_offers(tmp_path: Path, words: list[str]) -> None:
    async def scenario() -> None:
        async with (
            instance(Model()) as up,
            open_door(FakePool([up]), registry_with(tmp_path)) as port,
        ):
            url = f"http://127.0.0.1:{port}/fn/chat-dev/v1/chat/completions"
            body = json.dumps({"messages": ask("hi")})
            process = await asyncio.create_subprocess_exec(
                *("curl", "-sS", "--noproxy", "*", "--max-time", "10", *words),
                *("-w", "\n%{http_version} %{http_code}", "--json", body, url),
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await process.communicate()
            answer, _, told = said.decode().rpartition("\n")
            assert told == "1.1 200"
            assert json.loads(answer)["choices"][0]["message"]["content"] == "Paris."

    run(scenario)


PAGE = b"""<!doctype html><script>
const seen = [];
const source = new EventSource("events");
source.onmessage = (event) => {
  seen.push(event.data);
  if (seen.length === 5) { source.close(); fetch("report", {method: "POST", body: JSON.stringify(seen)}); }
};
</script>"""


class Site:
    """A page that listens to events, the events (three a connection), and what the page tells."""

    def __init__(self) -> None:
        self.last_ids: list[str] = []
        self.report: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, headers = await read_head(reader)
        path = first.split(" ")[1]
        if path == "/events":
            begin = int(headers.get("last-event-id", "0"))
            self.last_ids.append(headers.get("last-event-id", ""))
            writer.write(HEAD % b"text/event-stream" + chunk(b"retry: 10\n\n"))
            for number in range(begin + 1, begin + 4):
                writer.write(chunk(b"id: %d\ndata: event %d\n\n" % (number, number)))
                await asyncio.sleep(0.02)
            writer.write(b"0\r\n\r\n")
        elif path == "/report":
            self.report.set_result(json.loads(await reader.readexactly(int(headers["content-length"]))))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            page = PAGE if path == "/page" else b""
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(page), page))


@needs_browser
def test_a_browsers_event_source_listens_and_takes_up_where_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        site = Site()
        async with instance(site) as up, open_door(FakePool([up]), registry_with(tmp_path)) as port:
            page = f"http://127.0.0.1:{port}/fn/chat-dev/page"
            async with browser(page, tmp_path), asyncio.timeout(15):
                seen = await site.report
        assert seen == [f"event {number}" for number in range(1, 6)]
        assert site.last_ids == ["", "3"]

    run(scenario)

"""The server behind the affinity bench, run by path as an instance: it knows which sessions began on it.

``python server.py --port N``: GET /sse streams an endpoint event with a new id, then nothing; POST /messages/
with that id, POST /mcp without an id (mints one), any request of /mcp with one. An id that did not begin here
is answered with 404, as an MCP server would. Every other answer is JSON with this process' own name.

Owns: the ids that it has minted. Promises: its name is drawn anew in each process, so that an answer says who
gave it whatever the host's headers say. Never: keeps a connection busy but for a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import uuid
from typing import cast
from urllib.parse import parse_qs, urlsplit

import uvloop

NAME = uuid.uuid4().hex
MINTED: set[str] = set()


class Server(asyncio.Protocol):
    """One connection; bodies are not expected to be long, nor chunked."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._read += data
        while b"\r\n\r\n" in self._read:
            head, _, rest = self._read.partition(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").split("\r\n")
            pairs = (field.partition(":") for field in fields)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            self._read = rest[length:]
            method, target, _ = line.split(" ")
            self._answer(method, target, headers.get("mcp-session-id", ""))

    def _answer(self, method: str, target: str, session: str) -> None:
        url = urlsplit(target)
        if url.path == "/sse":
            self._stream()
        elif url.path == "/messages/":
            self._reply(200 if parse_qs(url.query)["session_id"][0] in MINTED else 404)
        elif url.path != "/mcp":
            self._reply(200)
        elif session:
            self._reply(200 if session in MINTED else 404)
            if method == "DELETE":
                MINTED.discard(session)
        else:
            self._reply(200, f"Mcp-Session-Id: {self._mint()}\r\n")

    def _mint(self) -> str:
        name = uuid.uuid4().hex
        MINTED.add(name)
        return name

    def _stream(self) -> None:
        event = f"event: endpoint\ndata: /messages/?session_id={self._mint()}\n\n".encode()
        self._write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n" % (len(event), event)
        )

    def _reply(self, status: int, extra: str = "") -> None:
        body = json.dumps({"name": NAME})
        self._write(
            f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}\r\n"
            f"{extra}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()

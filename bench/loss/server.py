"""The server behind the loss bench, run by path as an instance: it writes down every request it gets.

``python server.py --port N --file PATH``: GET /one?id=ID answers the id; GET /many?id=ID&count=C&gap=SECONDS
streams C numbered lines and then the id. Before it answers anything it appends ``ID PID`` to the file.

Owns: the record of what was delivered. Promises: one write per request, in the page cache before the first
byte of the answer (a killed process loses none). Never: answers a request that it has not written down.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import uvloop


class Recorder(asyncio.Protocol):
    """One connection."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._read += data
        while b"\r\n\r\n" in self._read:
            head, _, self._read = self._read.partition(b"\r\n\r\n")
            self._answer(urlsplit(head.split(b" ", 2)[1].decode("latin-1")).geturl())

    def _answer(self, target: str) -> None:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        name = query.get("id", "")
        if name:
            os.write(self._descriptor, f"{name} {os.getpid()}\n".encode())
        if url.path == "/many":
            self._write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._send(0, int(query["count"]), float(query["gap"]), name)
        else:
            body = name.encode()
            self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _send(self, number: int, count: int, gap: float, name: str) -> None:
        line = (f"{number}\n" if number < count else name).encode()
        self._write(b"%x\r\n%b\r\n" % (len(line), line))
        if number < count:
            asyncio.get_running_loop().call_later(gap, self._send, number + 1, count, gap, name)
        else:
            self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def _serve(port: int, file: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Recorder(descriptor), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    given = parser.parse_args()
    uvloop.run(_serve(given.port, given.file))


if __name__ == "__main__":
    main()

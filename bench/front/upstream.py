"""The tiny servers behind the fronts, run by path as an instance of a function.

``python upstream.py nginx --port N --folder FOLDER``: nginx that answers 200 at once (it is not the limit).
``python upstream.py events --port N``: GET /sse?count=C&gap=SECONDS streams events; an upgrade to WebSocket
is granted and then silent; anything else is answered 200.

Owns: what a front is measured against. Promises: reads no more of HTTP than the bench sends. Never: used as a
server of anything else.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import os
from pathlib import Path
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

import uvloop

_EVENT: Final = b'data: {"choices": [{"index": 0, "delta": {"content": "token"}}]}\n\n'
CHUNK: Final = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)
END: Final = b"0\r\n\r\n"
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_SMALL: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
_WEBSOCKET_ID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

NGINX: Final = """
daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log stderr warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ default_type text/plain; return 200 "ok\\n"; }}
  }}
}}
"""


class Events(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._read = b""
        self._timer: asyncio.TimerHandle | None = None
        self._is_tunnel = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_tunnel or self._transport is None:
            return
        self._read += data
        head, end, self._read = self._read.partition(b"\r\n\r\n")
        if not end:
            self._read = head
            return
        line, *fields = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (f.partition(b":") for f in fields)}
        url = urlsplit(line.split(b" ")[1].decode("latin-1"))
        if headers.get(b"upgrade", b"").lower() == b"websocket":
            self._switch(headers.get(b"sec-websocket-key", b""))
        elif url.path == "/sse":
            query = parse_qs(url.query)
            self._transport.write(_STREAM_HEAD)
            self._send(int(query["count"][0]), float(query["gap"][0]), asyncio.get_running_loop().time())
        else:
            self._transport.write(_SMALL)

    def _switch(self, key: bytes) -> None:
        self._is_tunnel = True
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_ID).digest())
        fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n\r\n")

    def _send(self, left: int, gap: float, due: float) -> None:
        if self._transport is None:
            return
        if left == 0:
            self._transport.write(END)
            return
        self._transport.write(CHUNK)
        due += gap
        self._timer = asyncio.get_running_loop().call_at(due, self._send, left - 1, gap, due)


async def _serve_events(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Events, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["nginx", "events"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, help="where nginx writes its configuration")
    given = parser.parse_args()
    if given.kind == "events":
        uvloop.run(_serve_events(given.port))
        return
    path = given.folder / f"upstream-{given.port}.conf"
    path.write_text(NGINX.format(port=given.port, folder=given.folder))
    os.execvp("nginx", ["nginx", "-e", "stderr", "-c", str(path)])


if __name__ == "__main__":
    main()

"""A server behind all three proxies: events, WebSockets that stay open, and a short answer.

Run by path with tickover's Python: ``upstream.py PORT``. GET /events?count=N&pause=S sends N events;
an upgrade gets its answer and is then left alone; anything else gets 200. Reads no body.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

EVENT = b"data: " + b"x" * 120 + b"\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if "upgrade: websocket" in head.lower():
                writer.write(SWITCH)
                await reader.read()
                return
            if head.startswith("GET /events?"):
                query = dict(pair.split("=") for pair in head.split(" ")[1].partition("?")[2].split("&"))
                writer.write(STREAM)
                for _ in range(int(query["count"])):
                    writer.write(CHUNK)
                    await asyncio.sleep(float(query["pause"]))
                writer.write(b"0\r\n\r\n")
            else:
                writer.write(OK)
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

"""A model server without a model, run by path as an instance: it has a prefix cache, and answers with words.

``python cached.py --port N --blocks B``: POST …/chat/completions answers in the form of llama.cpp, with how
many words of the prompt were in the cache and how many were not. The cache is vLLM's idea of one: blocks of
16 words, each known only together with all before it, the least recently used dropped.

Owns: the cache. Promises: a word that is not in it takes as long as a token of a prompt does on a fast card.
Never: computes anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import OrderedDict
from typing import Any, Final, cast

import uvloop

BLOCK_WORDS: Final = 16
WORD_SECONDS: Final = 0.0001
ANSWER: Final = "and so it went on until the lamp was out that night"


class Cache:
    """Digests of blocks, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def take(self, words: list[str]) -> int:
        """How many of the first words were there; all whole blocks of them are from now on."""
        whole = len(words) // BLOCK_WORDS * BLOCK_WORDS
        chain, sofar = [], 0
        for at in range(0, whole, BLOCK_WORDS):
            sofar = hash((sofar, *words[at : at + BLOCK_WORDS]))
            chain.append(sofar)
        known = next((at for at, block in enumerate(chain) if block not in self._blocks), len(chain))
        for block in reversed(chain):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)
        return known * BLOCK_WORDS


class Server(asyncio.Protocol):
    """One connection; a body has a length."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:]) if found else {}
        size = int(fields.get(b"content-length", 0))
        if not found or len(body) < size:
            return
        self._read = body[size:]
        if not size:
            self._write({})
            return
        words = [w for message in json.loads(body[:size])["messages"] for w in message["content"].split()]
        cached = self._cache.take(words)
        answer = {
            "choices": [{"message": {"content": ANSWER}}],
            "timings": {"cache_n": cached, "prompt_n": len(words) - cached},
        }
        wait = (len(words) - cached) * WORD_SECONDS
        asyncio.get_running_loop().call_later(wait, self._write, answer)

    def _write(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def _serve(port: int, blocks: int) -> None:
    cache = Cache(blocks)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(cache), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--blocks", type=int, required=True)
    given = parser.parse_args()
    uvloop.run(_serve(given.port, given.blocks))


if __name__ == "__main__":
    main()

"""The sessions of the affinity bench: callers that begin one, go on in it, and look who answers.

Owns: the callers of one run and what they saw. Promises: every request after a session's first is judged
once; an answer from elsewhere is excused only if the host says, after it, that the former instance takes no
requests any more. Never: disturbs the host (`trouble` does).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

ANSWER_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 0.05  # after a session that could not begin
HEADER: Final = "My-Session"
COOKIE: Final = "x-fc-cookie-session-id"
SHOWN: Final = 20  # of the answers that count against affinity

Lives = Callable[[str, str], Awaitable[bool]]  # (function, instance) → it takes requests


@dataclass(frozen=True, slots=True)
class Answer:
    """status 0: the connection broke. server: the name of the process that answered, by its own word."""

    status: int
    instance: str = ""
    server: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Seen:
    """What all callers of one kind saw. kept, moved, refused: with the session's instance alive."""

    kept: int = 0
    moved: int = 0
    refused: int = 0
    begun: int = 0  # sessions, the first time and after their instance had gone
    home_gone: int = 0  # answers that are excused by that
    wakes: int = 0
    homes: Counter[str] = field(default_factory=Counter)
    names: dict[str, str] = field(default_factory=dict)  # instance → the server that answered from it
    mislabelled: int = 0
    against: list[str] = field(default_factory=list)

    @property
    def judged(self) -> int:
        return self.kept + self.moved + self.refused


class Caller:
    """One caller of one function, with one session at a time."""

    def __init__(
        self, function: str, number: int, port: int, seen: Seen, lives: Lives, dice: random.Random
    ) -> None:
        self._function = function
        self._port = port
        self._seen = seen
        self._lives = lives
        self._dice = dice
        self._number = number
        self._round = 0
        self._home = ""

    # -- its requests ----------------------------------------------------------------------------------

    async def round(self, kind: str) -> None:
        """Some requests of its session, several at a time."""
        self._round += 1
        work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "GENERATED_COOKIE": self._by_cookie,
            "HEADER_FIELD": self._by_header,
            "MCP_STREAMABLE": self._streamable,
            "MCP_SSE": self._sse,
        }
        await work[kind]()

    async def _by_header(self) -> None:
        await self._burst(
            "GET", "/", {HEADER: f"s{self._number}"}
        )  # the first one begins it, several at once

    async def _by_cookie(self) -> None:
        if not self._home:
            answer = await self._begin("GET", "/")
            self._cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        if self._home:
            await self._burst("GET", "/", {"Cookie": self._cookie})

    async def _streamable(self) -> None:
        if not self._home:
            answer = await self._begin("POST", "/mcp")
            self._mcp = answer.headers.get("mcp-session-id", "")
        if not self._home:
            return
        mine = {"Mcp-Session-Id": self._mcp}
        await self._burst(self._dice.choice(("GET", "POST")), "/mcp", mine)
        if self._home and self._round % 20 == 0:
            await self._judge(await self._ask("DELETE", "/mcp", mine), self._home)
            self._home = ""

    async def _sse(self) -> None:
        """One stream, the messages of its session, and its end."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return
        try:
            path = await self._opened(reader, writer)
            if path:
                await self._burst("POST", path, {})
        finally:
            writer.close()
            self._home = ""

    async def _opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """The path that the stream's first event names; empty if it did not come so far."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(_head("GET", f"/fn/{self._function}.live/sse", {}))
                status, headers = await _read_head(reader)
                if status != 200:
                    await asyncio.sleep(AGAIN_SECONDS)
                    return ""
                event = (await reader.readuntil(b"\n\n")).decode("latin-1")
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return ""  # its instance has gone under it before it had a session
        self._count_wake(headers)
        self._settle(headers["x-fc-instance-id"])
        return event.partition("data: ")[2].strip()

    async def _begin(self, method: str, target: str) -> Answer:
        answer = await self._ask(method, target, {})
        if answer.status == 200:
            self._settle(answer.instance)
        else:
            await asyncio.sleep(AGAIN_SECONDS)
        return answer

    async def _burst(self, method: str, target: str, headers: dict[str, str]) -> None:
        before = self._home

        async def one() -> None:
            await self._judge(await self._ask(method, target, headers), before)

        await asyncio.gather(*(one() for _ in range(self._dice.randint(1, 4))))

    # -- who answered ----------------------------------------------------------------------------------

    def _settle(self, instance: str) -> None:
        self._home = instance
        self._seen.begun += 1
        self._seen.homes[instance] += 1

    async def _judge(self, answer: Answer, before: str) -> None:
        """before: the session's instance when the request was sent."""
        seen, home = self._seen, self._home
        if answer.status == 200 and answer.instance in (before, home) and answer.instance:
            seen.kept += 1
            return
        if not home:
            if answer.status == 200:
                self._settle(answer.instance)
            return
        if not await self._lives(self._function, home):
            seen.home_gone += 1
            if self._home == home:  # the first one to see it
                self._home = ""
            if answer.status == 200 and not self._home:
                self._settle(answer.instance)
            return
        if answer.status == 200:
            seen.moved += 1
        else:
            seen.refused += 1
        if len(seen.against) < SHOWN:
            seen.against.append(
                f"{self._function}: {answer.status} from {answer.instance!r}, at home on {home}"
            )

    def _count_wake(self, headers: dict[str, str]) -> None:
        self._seen.wakes += headers.get("x-tickover-woke") == "true"

    async def _ask(self, method: str, target: str, headers: dict[str, str]) -> Answer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._converse(method, f"/fn/{self._function}.live{target}", headers)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return Answer(0)

    async def _converse(self, method: str, target: str, headers: dict[str, str]) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(_head(method, target, headers))
            status, told = await _read_head(reader)
            body = await reader.readexactly(int(told.get("content-length", 0)))
        finally:
            writer.close()
        self._count_wake(told)
        instance = told.get("x-fc-instance-id", "")
        server = str(json.loads(body).get("name", "")) if instance and body else ""
        if server and self._seen.names.setdefault(instance, server) != server:
            self._seen.mislabelled += 1
        return Answer(status, instance, server, told)


def _head(method: str, target: str, headers: dict[str, str]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n"
        f"{fields}\r\n"
    ).encode()


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (text.partition(":") for text in fields)
    return int(line.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs if name}

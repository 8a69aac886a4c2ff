"""The open-loop requests of the loss bench.

Owns: the requests and how each ended. Promises: each is sent when it is due, whatever became of the others;
none is sent twice (a connection that is refused has carried nothing, and is asked for again); each ends in
bounded time. Never: counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bench.loss.count import Outcome

CHUNKS: Final = 5
GAP_SECONDS: Final = 0.02
CONNECT_SECONDS: Final = 30.0  # longer than any host takes to come back
ANSWER_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """total requests at a rate, in bursts that go to the functions in turn: each gets idle between two."""

    total: int
    rate: float
    burst: int
    functions: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.total / self.rate

    def due(self, number: int) -> float:
        """A burst takes a fifth of its share of the time."""
        burst, place = divmod(number, self.burst)
        return (burst + place / self.burst / 5) * self.burst / self.rate

    def function(self, number: int) -> str:
        return self.functions[number // self.burst % len(self.functions)]


async def ask_all(plan: Plan, port: int, began: float, tag: str) -> list[Outcome]:
    """Every request of the plan; began: on the monotonic clock."""
    tasks: list[asyncio.Task[Outcome]] = []
    for number in range(plan.total):
        wait = began + plan.due(number) - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        name = f"{tag}-{number}"
        asked = _ask(
            Outcome(name, number % 2 == 0, number // plan.burst, plan.function(number), 0.0, 0.0),
            port,
            lambda: time.monotonic() - began,
        )
        tasks.append(asyncio.create_task(asked))
    return list(await asyncio.gather(*tasks))


async def _ask(blank: Outcome, port: int, now: Callable[[], float]) -> Outcome:
    seen = replace(blank, sent=now())
    end = now() + CONNECT_SECONDS
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except ConnectionRefusedError:
            if now() > end:
                return replace(seen, ended=now(), error="connection refused")
            await asyncio.sleep(_AGAIN_SECONDS)
        except OSError as err:
            return replace(seen, ended=now(), error=f"no connection: {type(err).__name__}")
        seen = replace(seen, sent=now())
    heard = _Heard(seen)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await heard.converse(reader, writer)
    except TimeoutError:
        heard.error = "no answer in time"
    except (OSError, asyncio.IncompleteReadError) as err:
        heard.error = f"connection broke: {type(err).__name__}"
    finally:
        writer.close()
    return replace(
        seen,
        ended=now(),
        error=heard.error,
        first_byte=heard.first_byte,
        woke=heard.fields.get("x-tickover-woke") == "true",
        fc_request=heard.fields.get("x-fc-request-id", ""),
        instance=heard.fields.get("x-fc-instance-id", ""),
    )


class _Heard:
    """What comes back for one request."""

    def __init__(self, asked: Outcome) -> None:
        self._asked = asked
        self.fields: dict[str, str] = {}
        self.first_byte = False
        self.error = ""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = self._asked.request
        path = f"/many?id={name}&count={CHUNKS}&gap={GAP_SECONDS:g}"
        if not self._asked.is_streamed:
            path = f"/one?id={name}"
        fields = "Host: 127.0.0.1\r\nConnection: close\r\n"
        writer.write(f"GET /fn/{self._asked.function}.live{path} HTTP/1.1\r\n{fields}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.split("\r\n")
        pairs = (field.partition(":") for field in rest)
        self.fields = {key.lower(): value.strip() for key, _, value in pairs if key}
        status = line.split(" ")[1]
        if status != "200":
            body = await reader.read(300)
            self.error = f"HTTP {status} {_code(body)}"
            return
        self.first_byte = True
        body = await reader.read()
        wanted = name.encode()
        if self._asked.is_streamed:
            if not body.endswith(b"0\r\n\r\n"):
                self.error = "stream cut"
                return
            wanted = b"%x\r\n%b\r\n0\r\n\r\n" % (len(wanted), wanted)
        if not body.endswith(wanted):
            self.error = "stream cut" if not body else "wrong answer"


def _code(body: bytes) -> str:
    """FC's error code, from its JSON; its beginning if it is none."""
    _, found, rest = body.partition(b'"Code"')
    return rest.split(b'"')[1].decode("latin-1") if found else repr(body[:60])

"""Key sets behind URLs, fetched for the front door.

Owns: what was fetched, and the fetches under way: one at a time for a URL. Promises: a fetch is bounded in
time and bytes, follows no redirect, and makes only those callers wait whose key is not known; a set that
was fetched once serves until a newer one is there. Never: decides who is let in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from prometheus_client import Counter

from tickover.host.jwks import Fetched, KeySetError, fetched_keys

log = structlog.get_logger(__name__)

FETCH_SECONDS: Final = 5.0
MAX_BYTES: Final = 256 * 1024
_PIECE_BYTES: Final = 16 * 1024

Fetch = Callable[[str], Awaitable[bytes]]


async def fetch(uri: str) -> bytes:
    """The document at a URL. Raises KeySetError."""
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "tickover"}
    found = bytearray()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(uri, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise KeySetError(f"it answered {answer.status}")
            while piece := await answer.content.read(_PIECE_BYTES):
                found += piece
                if len(found) > MAX_BYTES:
                    raise KeySetError(f"it has more than {MAX_BYTES} bytes")
    except TimeoutError:
        raise KeySetError(f"no answer within {FETCH_SECONDS:.0f} seconds") from None
    except (aiohttp.ClientError, OSError, ValueError) as err:
        if isinstance(err, KeySetError):
            raise
        raise KeySetError(f"it cannot be reached ({type(err).__name__})") from err
    return bytes(found)


class KeySets:
    """The sets of one host. seconds: a monotonic clock."""

    def __init__(self, fetch: Fetch = fetch, seconds: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._sets: dict[str, Fetched] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self.fetches = Counter(
            "tickover_jwks_fetches",
            "Fetches of key sets by URL, by how they ended",
            ("result",),
            registry=None,
        )

    def known(self, uri: str) -> tuple[Fetched, float]:
        """What is known of a set, and now; one that has become old is asked for on the side."""
        found, now = self._sets.get(uri, Fetched()), self._seconds()
        if found.is_due(now):
            self._begin(uri)
        return found, now

    async def ask(self, uri: str, then: Callable[[], None]) -> None:
        """Wait for a fetch: the one under way, or a new one. A failure is logged and counted, not raised."""
        await asyncio.shield(self._begin(uri))
        then()

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._running.values():
            task.cancel()

    def _begin(self, uri: str) -> asyncio.Task[None]:
        task = self._running.get(uri)
        if task is None:
            task = self._running[uri] = asyncio.get_running_loop().create_task(self._renew(uri))
            task.add_done_callback(lambda _: self._running.pop(uri, None))
        return task

    async def _renew(self, uri: str) -> None:
        former = self._sets.get(uri, Fetched())
        try:
            keys = fetched_keys(await self._fetch(uri))
        except KeySetError as err:
            self._sets[uri] = replace(former, tried_s=self._seconds())
            self.fetches.labels("failed").inc()
            log.warning(
                "a key set was not fetched", url=_told(uri), reason=str(err), keys_kept=len(former.keys)
            )
            return
        self.fetches.labels("fetched").inc()
        now = self._seconds()
        self._sets[uri] = Fetched(keys, now, now)
        if keys.keys() != former.keys.keys():
            log.info("a key set was fetched", url=_told(uri), keys=len(keys))


def _told(uri: str) -> str:
    """A URL as a log may show it: what follows the path may be somebody's secret."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"

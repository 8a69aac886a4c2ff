"""What a model server can do beside answering requests: sleep, wake up, and tell how much it has to do.

Owns: the calls of vLLM's development API (`/is_sleeping`, `/sleep`, `/wake_up`, and what level 2 needs) and
the reading of its metrics. Promises: each call has a deadline; a server that lacks a call is told from one
that fails at it. Never: decides when to call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tickover.host.probe import NoAnswer, ask

ASK_SECONDS: Final = 5.0
# Weights go to pinned host memory, the KV cache is dropped: both ways are copies, whatever the start took.
LEVEL: Final = 1
# At level 2 nobody keeps the weights: they are read from the model's files again, between weights and cache.
_WAKE: Final[Mapping[int, tuple[tuple[str, dict[str, Any] | None], ...]]] = {
    1: (("/wake_up", None),),
    2: (
        ("/wake_up?tags=weights", None),
        ("/collective_rpc", {"method": "reload_weights"}),
        ("/wake_up?tags=kv_cache", None),
        ("/reset_prefix_cache", None),
    ),
}
_WORK: Final = re.compile(rb"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})?\s+(\S+)", re.MULTILINE)


@dataclass(eq=False)
class ServerRefused(Exception):
    """The server did not do it; reason is a phrase."""

    reason: str

    def __str__(self) -> str:
        return self.reason


async def is_sleeping(host: str, port: int, seconds: float = ASK_SECONDS) -> bool | None:
    """Whether it sleeps; None if it cannot. Raises ServerRefused if it does not answer."""
    try:
        answer = await ask(host, port, "GET", "/is_sleeping", seconds)
    except NoAnswer as error:
        raise ServerRefused(f"GET /is_sleeping: {error}") from error
    found = answer.json() if answer.status == 200 else None
    told = found.get("is_sleeping") if isinstance(found, dict) else None
    return told if isinstance(told, bool) else None


async def work(host: str, port: int, seconds: float = ASK_SECONDS) -> int:
    """Requests that it works on or keeps waiting, by its own count. Raises ServerRefused if it does not
    tell: then nobody knows that it may sleep."""
    try:
        answer = await ask(host, port, "GET", "/metrics", seconds)
    except NoAnswer as error:
        raise ServerRefused(f"GET /metrics: {error}") from error
    counts = _WORK.findall(answer.body) if answer.status == 200 else []
    if not counts:
        raise ServerRefused(f"GET /metrics answered {answer.status} without its number of requests")
    try:
        return round(sum(float(count) for count in counts))
    except (ValueError, OverflowError) as error:
        raise ServerRefused("GET /metrics has a number of requests that is none") from error


async def sleep(host: str, port: int, seconds: float, level: int = LEVEL) -> None:
    """Give up the GPU's memory. Raises ServerRefused; whether it sleeps then has to be asked."""
    await _told(host, port, f"/sleep?level={level}", seconds)


async def wake_up(host: str, port: int, seconds: float, level: int = LEVEL) -> None:
    """Take the GPU's memory back. Raises ServerRefused: such a server is not to be trusted any more."""
    for path, body in _WAKE[level]:
        await _told(host, port, path, seconds, body)


async def _told(host: str, port: int, path: str, seconds: float, body: dict[str, Any] | None = None) -> None:
    try:
        answer = await ask(host, port, "POST", path, seconds, body)
    except NoAnswer as error:
        raise ServerRefused(f"POST {path}: {error}") from error
    if not 200 <= answer.status < 300:
        said = answer.body[:200].decode("utf-8", "replace").strip()
        raise ServerRefused(f"POST {path} answered {answer.status}" + (f": {said}" if said else ""))

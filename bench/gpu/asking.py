"""One chat request through the front door, with its moments.

Owns: the request and the reading of its streamed answer. Promises: times are from before the connection is
made; an answer that is not whole is told as lost, with the reason; the answer's tokens and their logprobs
are kept as they came. Never: tries again.
"""

from __future__ import annotations

import http.client
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PROMPT = "Name the numbers that come after seven, and say what each of them is good for."
SECONDS = 300.0
_DATA = b"data:"
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Answer:
    """lost: why it is not a whole answer; empty if it is. Seconds are from the start of the request."""

    lost: str = ""
    head_seconds: float | None = None  # to the first byte of the answer
    token_seconds: float | None = None  # to the first token
    total_seconds: float = 0.0
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    waited_ms: int | None = None  # at the door, by its own word
    has_woken: bool = False  # an instance was woken for it
    instance_id: str = ""


def ask(url: str, model: str, tokens: int = 24, seconds: float = SECONDS) -> Answer:
    """A greedy request of so many tokens, streamed."""
    parts = urlsplit(url)
    body = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "logprobs": True,
        "top_logprobs": 0,
        # Or the same prompt again is answered from the prefix cache, which a sleep empties: in other shapes,
        # and so with other last digits, than the first answer after a wake.
        "cache_salt": uuid.uuid4().hex,
    }
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    began = time.perf_counter()
    try:
        connection.request(
            "POST",
            f"{parts.path}/v1/chat/completions",
            json.dumps(body),
            {"Content-Type": "application/json"},
        )
        response = connection.getresponse()
        head = time.perf_counter() - began
        return _read(response, began, head, tokens)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(f"{type(error).__name__}: {error}", total_seconds=time.perf_counter() - began)
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, began: float, head: float, wanted: int) -> Answer:
    if response.status != 200:
        said = response.read(300).decode("utf-8", "replace")
        return Answer(f"answered {response.status}: {said}", head)
    tokens: list[str] = []
    logprobs: list[float] = []
    first: float | None = None
    lost = "the stream ended without its last word"
    for line in response:
        if not line.startswith(_DATA):
            continue
        word = line[len(_DATA) :].strip()
        if word == _DONE:
            lost = ""
            break
        found = json.loads(word)
        if "error" in found:
            lost = f"the stream has an error: {found['error']}"
            break
        drawn = drawn_tokens(found)
        if drawn and first is None:
            first = time.perf_counter() - began
        tokens += [token for token, _ in drawn]
        logprobs += [logprob for _, logprob in drawn]
    response.read()
    if not lost and len(tokens) != wanted:
        lost = f"{len(tokens)} tokens came, {wanted} were asked for"
    return Answer(
        lost,
        head,
        first,
        time.perf_counter() - began,
        tuple(tokens),
        tuple(logprobs),
        int(response.headers.get("X-Tickover-Waited-Ms") or 0),
        response.headers.get("X-Tickover-Woke") == "true",
        response.headers.get("X-Fc-Instance-Id") or "",
    )


def drawn_tokens(chunk: dict[str, Any]) -> list[tuple[str, float]]:
    """The tokens of one chunk of a stream, with their logprobs."""
    choices = chunk.get("choices") or [{}]
    drawn = (choices[0].get("logprobs") or {}).get("content") or []
    return [(str(entry["token"]), float(entry["logprob"])) for entry in drawn]

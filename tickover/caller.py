"""A caller of a model server: one HTTP request, streamed, timed.

Owns: the request, the time to the first byte, the reading of server-sent events. Promises: the body is
handed on as it arrives; a server that cannot be reached is a clear error. Never: retries.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tickover.errors import ConfigError, Exit, TickoverError

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0


@dataclass(eq=False)
class Answer:
    """A response whose body is still to be read. first_byte_seconds: None until the first part."""

    status: int
    headers: Mapping[str, str]
    _response: http.client.HTTPResponse = field(repr=False)
    _url: str
    _began: float
    first_byte_seconds: float | None = None

    @property
    def woke(self) -> bool:
        """True if an instance had to be woken for this request."""
        return self.headers.get("x-tickover-woke") == "true"

    @property
    def waited_ms(self) -> str:
        """What the front door says it waited for an instance, or nothing."""
        return self.headers.get("x-tickover-waited-ms", "")

    @property
    def instance(self) -> str:
        return self.headers.get("x-fc-instance-id", "")

    def parts(self) -> Iterator[bytes]:
        """The body as it arrives."""
        while part := self._read():
            if self.first_byte_seconds is None:
                self.first_byte_seconds = time.perf_counter() - self._began
            yield part

    def _read(self) -> bytes:
        with _named(self._url):
            return self._response.read1(65536)

    def summary(self) -> str:
        """``first byte after 63 ms, woke the instance (waited 20 ms)``."""
        said = []
        if self.first_byte_seconds is not None:
            said.append(f"first byte after {self.first_byte_seconds * 1000:.0f} ms")
        if "x-tickover-woke" in self.headers:
            waited = f" (waited {self.waited_ms} ms)" if self.waited_ms else ""
            said.append("woke an idle instance" + waited if self.woke else "the instance was awake")
        if self.instance:
            said.append(f"instance {self.instance}")
        return ", ".join(said)


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Turns failures of the connection into errors that name the server."""
    try:
        yield
    except TimeoutError as error:
        raise TickoverError(
            "no-answer", "No answer in time", f"{url} went silent.", exit_code=Exit.TIMEOUT
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise TickoverError(
            "unreachable",
            "Server cannot be reached",
            f"{url}: {str(error) or type(error).__name__}.",
            hint="tickover host status",
        ) from error


@contextmanager
def request(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[Answer]:
    """One request. Raises TickoverError if the server cannot be reached or breaks off."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("bad-url", "Not a URL", f"{url!r} is no http or https URL.")
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname, parts.port, timeout=CONNECT_SECONDS)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with _named(url):
            connection.connect()
            connection.sock.settimeout(READ_SECONDS)
            began = time.perf_counter()
            connection.request(method, target, body, dict(headers or {}))
            response = connection.getresponse()
        with response:  # it keeps the socket when the server ends the connection
            found = {name.lower(): value for name, value in response.getheaders()}
            yield Answer(response.status, found, response, url, began)
    finally:
        connection.close()


@contextmanager
def chat(
    url: str,
    model: str,
    messages: Sequence[Mapping[str, str]],
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[tuple[Answer, Iterator[str]]]:
    """A streamed chat completion: the answer and its texts as they arrive."""
    wanted: dict[str, Any] = {"model": model, "stream": True, "messages": list(messages)}
    if max_tokens is not None:
        wanted["max_tokens"] = max_tokens
    if temperature is not None:
        wanted["temperature"] = temperature
    given = {"Content-Type": "application/json", "Accept": "text/event-stream", **(headers or {})}
    with request("POST", f"{url}/v1/chat/completions", json.dumps(wanted).encode(), given) as answer:
        if answer.status != 200:
            raise refused(answer, b"".join(answer.parts()))
        yield answer, texts(answer.parts())


def texts(parts: Iterator[bytes]) -> Iterator[str]:
    """The texts in a stream of chat completion events. Raises TickoverError for an error event."""
    rest = b""
    for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
                continue
            event = json.loads(line[5:])
            if "error" in event:
                message = event["error"].get("message", "") if isinstance(event["error"], dict) else ""
                raise TickoverError("model-error", "Model server failed", f"It said: {message}")
            for choice in event.get("choices") or ():
                if text := (choice.get("delta") or {}).get("content"):
                    yield text


def refused(answer: Answer, body: bytes) -> TickoverError:
    """An answer that is not a success, as an error."""
    try:
        document = json.loads(body)
        inner = document.get("error")
        message = document.get("Message") or (inner.get("message") if isinstance(inner, dict) else inner)
    except (ValueError, AttributeError):
        message = body[:300].decode(errors="replace")
    codes = {401: Exit.AUTHENTICATION, 403: Exit.AUTHENTICATION}
    retry = answer.headers.get("retry-after", "")
    return TickoverError(
        "request-refused",
        "Request was refused",
        f"Status {answer.status}: {message or 'no message'}",
        hint="tickover invoke … -H 'Authorization: Bearer TOKEN'" if answer.status == 401 else "",
        exit_code=codes.get(answer.status, Exit.ERROR),
        retry_after_seconds=float(retry) if retry.isdigit() else None,
    )

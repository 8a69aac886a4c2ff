"""One streamed request, and the stations of the tour that need no model."""

from __future__ import annotations

import http.server
import json
import shlex
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tickover import caller, tour
from tickover.commands.services import Service
from tickover.commands.session import Session
from tickover.errors import Exit, TickoverError

SERVICE = Service("chat", "chat-dev", "http://127.0.0.1:1/fn/chat-dev.live", "smollm2")


def event(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


class Server(http.server.BaseHTTPRequestHandler):
    """Answers by path; remembers the last body."""

    asked: dict[str, Any]

    def do_POST(self) -> None:
        type(self).asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.path.split("/")[1]
        answers = {
            "good": (200, [event("Pa"), event("ris")[:20], event("ris")[20:] + b"data: [DONE]\n\n"]),
            "sad": (200, [event("Pa"), b'data: {"error": {"message": "out of memory"}}\n\n']),
            "full": (429, [b'{"Code": "ResourceExhausted", "Message": "the queue is full"}']),
            "locked": (401, [b'{"error": {"message": "no token"}}']),
            "odd": (502, [b"<html>bad gateway</html>"]),
        }
        status, parts = answers[kind]
        self.send_response(status)
        self.send_header("X-Tickover-Woke", "true")
        self.send_header("X-Tickover-Waited-Ms", "12")
        self.send_header("X-Fc-Instance-Id", "i-1")
        self.send_header("Retry-After", "3")
        self.end_headers()
        for part in parts:
            self.wfile.write(part)
            self.wfile.flush()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def ask(url: str) -> tuple[list[str], caller.Answer]:
    with caller.chat(url, "smollm2", [{"role": "user", "content": "Hi"}], max_tokens=4) as (answer, texts):
        return list(texts), answer


def test_texts_come_as_they_are_made_whatever_the_packets(url: str) -> None:
    texts, answer = ask(f"{url}/good")
    assert texts == ["Pa", "ris"]
    assert (answer.woke, answer.waited_ms, answer.instance) == (True, "12", "i-1")
    assert answer.first_byte_seconds is not None
    assert "woke an idle instance (waited 12 ms), instance i-1" in answer.summary()
    assert Server.asked["stream"] is True
    assert Server.asked["max_tokens"] == 4


@pytest.mark.parametrize(
    ("kind", "code", "message", "exit_code"),
    [
        ("sad", "model-error", "out of memory", Exit.ERROR),
        ("full", "request-refused", "Status 429: the queue is full", Exit.ERROR),
        ("locked", "request-refused", "Status 401: no token", Exit.AUTHENTICATION),
        ("odd", "request-refused", "bad gateway", Exit.ERROR),
    ],
)
def test_what_goes_wrong_is_said(url: str, kind: str, code: str, message: str, exit_code: Exit) -> None:
    with pytest.raises(TickoverError) as caught:
        ask(f"{url}/{kind}")
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert message in caught.value.detail
    assert caught.value.retry_after_seconds == (3.0 if code == "request-refused" else None)


@pytest.mark.parametrize("bad", ["ftp://x/", "chat-dev", "http:///x", "[unknown]"])
def test_what_is_no_url_is_named(bad: str) -> None:
    with pytest.raises(TickoverError, match="Not a URL"), caller.request("GET", bad):
        pass


def test_the_curl_line_can_be_pasted_as_it_is() -> None:
    words = shlex.split(tour.curl_line(SERVICE))
    assert words[:3] == ["curl", "-N", SERVICE.url + "/v1/chat/completions"]
    assert json.loads(words[-1])["messages"][0]["content"] == tour.QUESTION


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(*states: str) -> None:
    """Wait for idle; the instance goes through the states, one a second, and stays in the last."""
    clock = Clock()

    def instances(_: str) -> list[dict[str, str]]:
        return [{"instance_id": "i-1", "state": states[min(int(clock.now), len(states) - 1)]}]

    tour.wait_idle(Session(), SERVICE, instances, clock, clock.sleep)


def test_waiting_for_idle_tells_each_state_once(capsys: pytest.CaptureFixture[str]) -> None:
    wait("busy", "busy", "ready", "suspending", "idle")
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        "busy",
        "ready",
        "suspending",
        "idle",
    ]


@pytest.mark.parametrize(
    ("state", "code", "exit_code"),
    [("busy", "not-idle", Exit.TIMEOUT), ("failed", "no-instance", Exit.ERROR)],
)
def test_an_instance_that_does_not_go_idle_ends_the_tour(state: str, code: str, exit_code: Exit) -> None:
    with pytest.raises(TickoverError) as caught:
        wait(state)
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)

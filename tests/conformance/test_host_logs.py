"""`tickover logs` against a whole host with real processes: once, filtered, followed over what may happen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conformance import test_host_api_whole_host as whole
from tests.conformance.test_host_api_whole_host import host, until
from tests.support.host_edge_server import Served, served
from tickover.commands.logfollow import time_ns
from tickover.errors import TickoverError
from tickover.host.client import AdminClient
from tickover.host.daemon import start_host, stop_host, upgrade_host

__all__ = ["host"]

TALKER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        word = self.path.partition("?")[0].rpartition("/")[2]
        if "/say/" in self.path:
            print(word, flush=True, file=sys.stderr if "err" in word else sys.stdout)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args): pass
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def talking(host: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setattr(whole, "SERVER", TALKER)
    whole.declare(host.client(), "x")
    until(lambda: any(i["state"] == "idle" for i in AdminClient(host.home).instances()))
    return host


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fake")) as found:
        yield found


def say(host: Served, word: str) -> str:
    """Have an instance write a line; its id."""
    url = json.loads((host.home / "host" / "host.json").read_text())["url"]
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{url}/fn/echo-dev.live/say/{word}?key=sk-0123456789", timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Fc-Instance-Id"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tickover.cli", "logs", *words]


def around(home: Path) -> dict[str, Any]:
    (home.parent / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    return {
        "cwd": home.parent,
        "env": {**os.environ, "TICKOVER_HOME": str(home), "PYTHONPATH": os.getcwd()},
        "text": True,
    }


def logs(home: Path, *words: str) -> str:
    done = subprocess.run(command(*words), capture_output=True, timeout=30, check=False, **around(home))
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def asked(home: Path, **query: str) -> list[str]:
    return [row["message"] for row in AdminClient(home).stream("logs", query)]


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.timeout(60)
def test_what_instances_wrote_and_what_callers_were_answered(talking: Served) -> None:
    home = talking.home
    instance = say(talking, "one")
    assert asked(home) == ["serving", "one"]
    say(talking, "err-two")
    found = rows(logs(home, "--json"))
    assert [row["message"] for row in found] == ["serving", "one", "err-two"]
    row = found[1]
    assert sorted(row) == ["function", "instance", "message", "qualifier", "stream", "time", "version"]
    assert (row["function"], row["qualifier"], row["version"]) == ("echo-dev", "live", "1")
    assert (row["instance"], row["stream"]) == (instance, "output")
    assert [row["time"] for row in found] == sorted(row["time"] for row in found)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row["time"])
    text = logs(home, "echo", "--tail", "2")
    assert text == f"echo-dev/{instance} | one\necho-dev/{instance} | err-two\n"  # no colour in a pipe
    assert logs(home, instance[:6], "--tail", "all") == "serving\none\nerr-two\n"
    assert [r["message"] for r in rows(logs(home, "--json", "--since", found[2]["time"]))] == ["err-two"]
    before = str(time_ns(found[2]["time"]))
    assert asked(home, until=before) == ["serving", "one"]
    for wrong in (
        {"qualifier": "other"},
        {"version": "9"},
        {"instance": "i-000000000000"},
        {"functions": "x"},
    ):
        assert asked(home, **wrong) == []
    until(lambda: len(list(AdminClient(home).stream("access", {"functions": "echo-dev"}))) == 2)
    accessed = rows(logs(home, "echo-dev", "--access", "--json"))
    assert [(r["path"], r["status"], r["end"]) for r in accessed] == [
        ("/fn/echo-dev.live/say/one", 200, "complete"),
        ("/fn/echo-dev.live/say/err-two", 200, "complete"),
    ]
    assert "place" not in accessed[0]
    last = logs(home, "echo-dev", "--access", "-n", "1")
    assert re.fullmatch(rf"\S+Z echo-dev/{instance} GET /fn/echo-dev.live/say/err-two 200 .* ms, .*\n", last)
    secrets = (talking.credentials.admin_token, talking.credentials.access_key_secret, "sk-0123456789")
    everything = [*AdminClient(home).stream("logs", {}), *AdminClient(home).stream("access", {})]
    assert not any(secret in json.dumps(everything) for secret in secrets)


@pytest.mark.parametrize(
    ("name", "query", "why"),
    [
        ("logs", {"tail": "x"}, "tail must be a number of lines, not 'x'"),
        ("logs", {"tail": "10001"}, "the last 10000 lines are the most"),
        ("logs", {"since": "yesterday"}, "since must be nanoseconds since the epoch, not 'yesterday'"),
        ("logs", {"follow": "yes"}, "follow must be true or false, not 'yes'"),
        ("logs", {"instance": "../host"}, "instance must be the id of an instance, not '../host'"),
        ("logs", {"lines": "3"}, "there is no parameter lines"),
        ("access", {"after": "x:1"}, "after must be the place of a line of the access log, not 'x:1'"),
    ],
)
def test_what_is_not_understood_is_refused(fake: Served, name: str, query: dict[str, str], why: str) -> None:
    with pytest.raises(TickoverError) as refused:
        list(AdminClient(fake.home).stream(name, query))
    assert why in refused.value.detail


def test_only_the_admin_token_opens_the_logs(fake: Served) -> None:
    with requests.Session() as session:
        session.trust_env = False
        for name in ("logs", "access"):
            assert session.get(f"{fake.url}/_tickover/v1/{name}", timeout=10).status_code == 401


class Following:
    """`tickover logs --follow` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.rows: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._hear)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.rows.extend(json.loads(line) for line in self.process.stdout)

    def _hear(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)

    @property
    def messages(self) -> list[str]:
        return [row["message"] for row in self.rows]

    def sees(self, word: str) -> None:
        until(lambda: word in self.messages)

    def ended(self) -> int:
        code = self.process.wait(10)
        for thread in self._threads:
            thread.join(10)
        return code


@contextmanager
def following(home: Path, *words: str) -> Iterator[Following]:
    process = subprocess.Popen(
        command("--follow", "--json", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell's background job ignores it, and an ignored signal stays ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **around(home),
    )
    with process:
        found = Following(process)
        try:
            yield found
        finally:
            process.kill()
            found.ended()


@pytest.mark.timeout(120)
def test_a_follower_goes_on_over_a_new_instance_a_new_host_and_a_host_that_was_away(talking: Served) -> None:
    home, admin = talking.home, AdminClient(talking.home)
    with following(home) as seen:
        first = say(talking, "one")
        seen.sees("one")
        [pid] = [i["pid"] for i in admin.instances() if i["instance_id"] == first]
        os.kill(pid, signal.SIGKILL)
        until(lambda: any(i["state"] == "idle" and i["instance_id"] != first for i in admin.instances()))
        second = say(talking, "two")
        seen.sees("two")
        upgrade_host(home, 60.0)
        assert say(talking, "three") == second
        seen.sees("three")
        stop_host(home, keep_instances=True)
        until(lambda: any("away" in line for line in seen.said))
        start_host(home)
        say(talking, "four")
        seen.sees("four")
        seen.process.send_signal(signal.SIGINT)
        assert seen.ended() == 0
        assert seen.messages == ["serving", "one", "serving", "two", "three", "four"]
        assert [row["instance"] for row in seen.rows] == [first] * 2 + [second] * 4
        assert [line.split(";")[0] for line in seen.said] == ["The host is away", "The host is back.\n"]


@pytest.mark.timeout(60)
def test_followed_requests_are_told_once_over_a_new_host(talking: Served) -> None:
    with following(talking.home, "echo-dev", "--access") as seen:
        for word in ("one", "two"):
            say(talking, word)
            until(lambda word=word: len(seen.rows) and seen.rows[-1]["path"].endswith(word))  # type: ignore[misc]
        upgrade_host(talking.home, 60.0)
        say(talking, "three")
        until(lambda: len(seen.rows) == 3)
        seen.process.send_signal(signal.SIGINT)
        assert seen.ended() == 0
    assert [row["path"].rpartition("/")[2] for row in seen.rows] == ["one", "two", "three"]
    assert seen.said == []


def test_without_a_host_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--follow"), capture_output=True, timeout=30, check=False, **around(tmp_path / "home")
    )
    assert done.returncode == 1 and "Host is not running" in done.stderr
    assert "tickover host start" in done.stderr

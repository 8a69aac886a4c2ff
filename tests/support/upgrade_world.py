"""A host with one function, callers of it, and what stays open, for tests that replace the host."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client

from tests.support.host_edge_server import Served
from tests.support.metered import metered
from tickover.host.auth import load_credentials
from tickover.host.client import AdminClient, read_host_file
from tickover.host.daemon import stop_host, upgrade_host

ROOT = Path(__file__).parents[2]
PROGRAM = str(ROOT / "tests" / "support" / "upgrade_host.py")
# /open?file=F streams until the file F exists; /hello answers at once.
SERVER = """
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/open"):
            end = self.path.partition("=")[2]
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            number = 0
            while not os.path.exists(end):
                part = b"%d\\n" % number
                self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(part), part))
                self.wfile.flush()
                number += 1
                time.sleep(0.005)
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        if self.path.startswith("/ws"):
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.close_connection = True
            while said := self.connection.recv(100):
                self.connection.sendall(said.upper())
            return
        body = b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come in {seconds:g} s"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class World:
    """A data home with one function of two requests at a time on one instance, and its host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.children: list[subprocess.Popen[bytes]] = []
        self.streams: list[Stream] = []
        self.tunnels: list[Tunnel] = []
        (self.home / "host").mkdir(parents=True)

    @property
    def port(self) -> int:
        return int((self.home / "host" / "port").read_text())

    @property
    def pid(self) -> int:
        facts = read_host_file(self.home)
        return int(facts["pid"]) if facts else 0

    def spawn(self, point: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A host that comes to grief at a point."""
        with (self.home / "host" / "host.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, PROGRAM, point, "run", "--home", str(self.home), *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        self.children.append(child)
        return child

    def start(self, point: str = "none") -> int:
        child = self.spawn(point, "--port", "0")
        until(lambda: self.pid == child.pid, "the host")
        self.declare()
        return child.pid

    def client(self) -> Client:
        credentials = load_credentials(self.home / "host" / "credentials.json")
        return Served(self.home, f"http://127.0.0.1:{self.port}", credentials, None).client()

    def deploy(self, text: str) -> None:
        """A new revision."""
        body = fc.UpdateFunctionInput(environment_variables={"TICKOVER_LINGER_SECONDS": "0.05", "TEXT": text})
        self.client().update_function("echo-dev", fc.UpdateFunctionRequest(body=body))

    def declare(self) -> None:
        client = self.client()
        container = fc.CustomContainerConfig(
            image="process://local", entrypoint=[sys.executable, "-c", SERVER], command=["${port}"]
        )
        body = fc.CreateFunctionInput(
            function_name="echo-dev",
            runtime="custom-container",
            handler="not-used",
            cpu=1,
            memory_size=1024,
            disk_size=512,
            timeout=86400,
            instance_concurrency=2,
            custom_container_config=container,
            environment_variables={"TICKOVER_LINGER_SECONDS": "0.05"},
        )
        client.create_function(fc.CreateFunctionRequest(body=body))
        pool = fc.PutProvisionConfigInput(
            default_target=1, always_allocate_cpu=False, always_allocate_gpu=False
        )
        client.put_provision_config("echo-dev", fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))
        trigger = fc.CreateTriggerInput(
            trigger_name="web",
            trigger_type="http",
            qualifier="LATEST",
            trigger_config=json.dumps({"authType": "anonymous", "methods": ["GET"]}),
        )
        client.create_trigger("echo-dev", fc.CreateTriggerRequest(body=trigger))
        until(lambda: self.instance()["state"] in ("ready", "idle"), "the instance")

    def instance(self) -> dict[str, object]:
        found = AdminClient(self.home).instances()
        return found[0] if found else {"state": "none"}

    def hello(self, connection: http.client.HTTPConnection | None = None) -> str:
        with contextlib.closing(self.connection()) as fresh:
            used = connection or fresh
            used.request("GET", "/fn/echo-dev/hello")
            return used.getresponse().read().decode()

    def answered_by(self) -> str:
        """The instance that answers."""
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET", "/fn/echo-dev/hello")
            answer = connection.getresponse()
            answer.read()
            return answer.getheader("x-fc-instance-id") or ""

    def tunnel(self) -> Tunnel:
        found = Tunnel(self.port)
        self.tunnels.append(found)
        return found

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def stream(self, name: str = "end") -> Stream:
        found = Stream(self.port, self.folder / name)
        self.streams.append(found)
        return found

    def upgrade(self, max_age: float = 60.0) -> int:
        return upgrade_host(self.home, max_age).pid

    def waiting_now(self) -> int:
        with contextlib.closing(self.connection()) as connection:
            token = load_credentials(self.home / "host" / "credentials.json").admin_token
            connection.request("GET", "/_tickover/v1/metrics", headers={"Authorization": f"Bearer {token}"})
            page = connection.getresponse().read().decode()
        return sum(
            float(x.split()[-1]) for x in page.splitlines() if x.startswith("tickover_requests_waiting{")
        )

    def log(self) -> str:
        return (self.home / "host" / "host.log").read_text()

    def close(self) -> None:
        for open_one in (*self.streams, *self.tunnels):
            open_one.close()
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
        stop_host(self.home)
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()

    def meter(self) -> tuple[int, int]:
        """(sum of all intervals, first start to last end) in ns, of a host that has stopped."""
        (found,) = metered(self.home / "host" / "host.db").values()
        return found


class Stream:
    """An answer that goes on until it is told to end."""

    def __init__(self, port: int, end: Path) -> None:
        self._end = end
        end.unlink(missing_ok=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.request("GET", f"/fn/echo-dev/open?file={end}")
        self._answer = self._connection.getresponse()
        self.lines = 0

    def flows(self, count: int = 3) -> None:
        """So many lines more come, each in its turn."""
        for _ in range(count):
            assert self._answer.readline() == b"%d\n" % self.lines
            self.lines += 1

    def ends(self) -> None:
        """Told to, it ends whole."""
        self._end.write_text("")
        for line in self._answer.read().splitlines():
            assert line == b"%d" % self.lines
            self.lines += 1

    def close(self) -> None:
        self._end.write_text("")
        self._connection.close()


class Tunnel:
    """A connection that has switched protocols, as a WebSocket does."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._sock.sendall(
            b"GET /fn/echo-dev/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._sock.recv(1)
        assert b" 101 " in head

    def echo(self, said: bytes) -> bytes:
        self._sock.sendall(said)
        found = b""
        while len(found) < len(said):
            part = self._sock.recv(100)
            assert part, "it was cut"
            found += part
        return found

    def close(self) -> None:
        self._sock.close()


class Load:
    """Callers that ask one thing after the other, on fresh and on kept connections in turns."""

    def __init__(self, world: World, callers: int = 2) -> None:
        self.answers: list[float] = []
        self.lost: list[str] = []
        self._world = world
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        kept = self._world.connection()
        number = 0
        while not self._stop.is_set():
            number += 1
            began = time.monotonic()
            try:
                answer = self._world.hello(kept if number % 4 else None)
            except (OSError, http.client.HTTPException) as error:
                answer = repr(error)
            if answer == "hello":
                self.answers.append(time.monotonic() - began)
            else:
                self.lost.append(answer)
            time.sleep(0.002)
        kept.close()

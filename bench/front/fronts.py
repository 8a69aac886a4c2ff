"""nginx and HAProxy as fronts of a bench, on one core, with settings that stream.

Owns: their configuration and their processes. Promises: one worker, keep-alive to the upstream, no buffering,
an access log as tickover's host writes its own; ended by process id. Never: installs anything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = {
    "nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "taskset": "util-linux",
}  # fmt: skip
_END_SECONDS: Final = 5.0
_UP_SECONDS: Final = 10.0

NGINX: Final = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log {folder}/nginx.log; keepalive_requests 100000000; keepalive_timeout 3600s; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream small {{ server 127.0.0.1:{small}; keepalive 256; keepalive_requests 100000000; }}
  upstream events {{ server 127.0.0.1:{events}; keepalive 256; keepalive_requests 100000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  proxy_request_buffering off;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://small; }}
    location /sse {{ proxy_pass http://events; }}
  }}
}}
"""

HAPROXY: Final = """
global
  nbthread 1
  maxconn 8192
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 3600s
  timeout server 3600s
frontend front
  bind 127.0.0.1:{port}
  use_backend events if {{ path /sse }}
  default_backend small
backend small
  server one 127.0.0.1:{small}
backend events
  server one 127.0.0.1:{events}
"""


@dataclass(frozen=True, slots=True)
class Front:
    """Where a front is asked. prefix: before the path. pid: whose processor time is its own."""

    name: str
    port: int
    small: str
    events: str
    pid: int


def missing() -> list[str]:
    """Debian packages to install before the bench can run."""
    folders = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [package for command, package in PACKAGES.items() if shutil.which(command, path=folders) is None]


@contextlib.contextmanager
def nginx(folder: Path, core: int, small: int, events: int) -> Iterator[Front]:
    port = free_port()
    path = folder / "nginx.conf"
    path.write_text(NGINX.format(folder=folder, port=port, small=small, events=events))
    # The worker is the only child of the master that was started here.
    command = ["nginx", "-e", "stderr", "-c", str(path)]
    with _running(command, core, port, folder / "nginx.err") as pid:
        worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        yield Front("nginx", port, "/", "/sse", worker)


@contextlib.contextmanager
def haproxy(folder: Path, core: int, small: int, events: int) -> Iterator[Front]:
    port = free_port()
    path = folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(port=port, small=small, events=events))
    with _running(["haproxy", "-db", "-f", str(path)], core, port, folder / "haproxy.log") as pid:
        yield Front("haproxy", port, "/", "/sse", pid)


@contextlib.contextmanager
def _running(command: Sequence[str], core: int, port: int, log: Path) -> Iterator[int]:
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command], stdout=file, stderr=file, env=environment
        )
    try:
        _until_open(port, process, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _UP_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError as err:
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"{process.args!r} does not serve ({err}); it says:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process so far, to the nanosecond (as far as the kernel counts)."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

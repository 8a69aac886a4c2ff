"""What is compared: tickover's host, nginx and HAProxy, before the same two servers, on a core of their own.

Owns: their configuration, start and end. Promises: the host's functions are declared through Alibaba Cloud's
client, with a bearer token asked for, metering and its log on; the others stream too (no buffering), keep
connections to the servers, and log each request. Never: measures.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.utils_models import Config

from tickover.host.auth import load_credentials
from tickover.host.client import AdminClient
from tickover.host.daemon import start_host, stop_host
from tickover.paths import host_dir

PROXY_CORE: Final = 0
LOAD_CORE: Final = 1
TOKEN: Final = "token-of-the-bench"
PROGRAMS: Final = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "taskset": "util-linux"}
UPSTREAM: Final = Path(__file__).with_name("upstream.py")
WEBSOCKETS_AN_INSTANCE: Final = 200
_SERVER: Final = """daemon off; worker_processes 1; pid {folder}/server.pid; error_log {folder}/server.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; return 200 '{{}}'; }} }} }}
"""
_NGINX: Final = """daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 16384; }}
http {{ access_log {folder}/nginx-access.log; keepalive_requests 100000000;
  upstream short {{ server 127.0.0.1:{short}; keepalive 128; keepalive_requests 100000000; }}
  upstream long {{ server 127.0.0.1:{long}; keepalive 128; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 1h;
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location /fn/short/ {{ proxy_pass http://short/; }}
    location /fn/long/ {{ proxy_pass http://long/; }} }} }}
"""
_HAPROXY: Final = """global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend f
  bind 127.0.0.1:{port}
  use_backend long if {{ path_beg /fn/long/ }}
  default_backend short
backend short
  http-request replace-path /fn/short/(.*) /\\1
  server s 127.0.0.1:{short}
backend long
  http-request replace-path /fn/long/(.*) /\\1
  server s 127.0.0.1:{long}
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One of them. pids: whose time and memory count."""

    name: str
    port: int
    pids: tuple[int, ...]


def missing() -> list[str]:
    """The packages whose programs are not here."""
    there = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    return [package for program, package in PROGRAMS.items() if not shutil.which(program, path=there)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def tickover(home: Path, websockets: int) -> Iterator[tuple[Side, int, int]]:
    """A host with the functions short, long and ws; and the ports of the first two's servers."""
    os.sched_setaffinity(0, {PROXY_CORE})
    try:
        info = start_host(home, 0)
    finally:
        os.sched_setaffinity(0, {LOAD_CORE})
    try:
        config = home / "server.conf"
        config.write_text(_SERVER.format(folder=home, port="PORT"))
        start = f'sed "s/PORT/$0/" {config} > {home}/server-$0.conf && exec nginx -c {home}/server-$0.conf'
        on_load = ["taskset", "-c", str(LOAD_CORE)]
        python = [*on_load, sys.executable, str(UPSTREAM)]
        client = _client(info.url, home)
        _declare(client, "short", [*on_load, "sh", "-c", start], 1)
        _declare(client, "long", python, 1)
        _declare(client, "ws", python, -(-websockets // WEBSOCKETS_AN_INSTANCE))
        admin = AdminClient(home)
        ports = [_port(admin, name) for name in ("short", "long")]
        yield Side("tickover", int(info.url.rsplit(":", 1)[1]), (info.pid,)), ports[0], ports[1]
    finally:
        stop_host(home)


@contextlib.contextmanager
def rival(name: str, folder: Path, short: int, long: int) -> Iterator[Side]:
    port = free_port()
    config = folder / f"{name}.conf"
    text = _NGINX if name == "nginx" else _HAPROXY
    config.write_text(text.format(folder=folder, port=port, short=short, long=long))
    flag = "-c" if name == "nginx" else "-f"
    with (folder / f"{name}.out").open("w") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(PROXY_CORE), name, flag, str(config)],
            stdout=out,
            stderr=out,
            env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"},
        )
        try:
            _until_open(port, folder / f"{name}.out")
            yield Side(name, port, (process.pid, *_children(process.pid)))
        finally:
            process.terminate()
            process.wait(10)


def _client(url: str, home: Path) -> Client:
    keys = load_credentials(host_dir(home) / "credentials.json")
    return Client(
        Config(
            access_key_id=keys.access_key_id,
            access_key_secret=keys.access_key_secret,
            endpoint=url.removeprefix("http://"),
            protocol="http",
            region_id="local",
        )
    )


def _declare(client: Client, name: str, words: list[str], instances: int) -> None:
    container = fc.CustomContainerConfig(image="process://local", entrypoint=words, command=["${port}"])
    body = fc.CreateFunctionInput(
        function_name=name,
        runtime="custom-container",
        handler="not-used",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        timeout=3600,
        instance_concurrency=WEBSOCKETS_AN_INSTANCE,
        custom_container_config=container,
        environment_variables={"TICKOVER_IDLE_DEEPEST": "none"},
    )
    client.create_function(fc.CreateFunctionRequest(body=body))
    tokens = json.dumps({"tokens": [{"token": TOKEN}]})
    rule = {"authType": "bearer", "authConfig": tokens, "methods": ["GET", "POST"]}
    trigger = fc.CreateTriggerInput(
        trigger_name="web", trigger_type="http", qualifier="LATEST", trigger_config=json.dumps(rule)
    )
    client.create_trigger(name, fc.CreateTriggerRequest(body=trigger))
    pool = fc.PutProvisionConfigInput(
        default_target=instances, always_allocate_cpu=True, always_allocate_gpu=True
    )
    client.put_provision_config(name, fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))


def _port(admin: AdminClient, name: str) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = [i for i in admin.instances(name) if i["state"] in ("ready", "busy")]
        if found:
            return int(found[0]["port"])
        time.sleep(0.1)
    raise SystemExit(f"error: function {name} did not come up")


def _until_open(port: int, log: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"error: nothing listens on port {port}\n{log.read_text()[-2000:]}")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for line in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(line), *_children(int(line))]
    return found

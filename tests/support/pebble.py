"""Debian's pebble: a real ACME server on the loopback, with its DNS, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import certificate

_START_SECONDS = 15.0

needs_pebble = pytest.mark.skipif(
    shutil.which("pebble") is None and not os.environ.get("CI"),
    reason="pebble is not installed: apt-get install pebble",
)


@dataclass(frozen=True)
class Pebble:
    """directory: its URL. ca_file: trusts its API. _management: where its root is told."""

    directory: str
    ca_file: Path
    management: str

    def root(self) -> str:
        """What the certificates that it issues lead to."""
        trusting = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(f"{self.management}/roots/0", context=trusting, timeout=5) as answer:
            return str(answer.read().decode())


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        socks = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in socks]


@contextlib.contextmanager
def pebble(folder: Path, *, http_port: int, tls_port: int, api: int | None = None) -> Iterator[Pebble]:
    """A server that looks at these ports, for names that all are this machine's."""
    free, management, dns, dns_management = free_ports(4)
    api = api or free
    own = certificate("localhost")
    ca, key, config = folder / "pebble.pem", folder / "pebble.key", folder / "pebble.json"
    ca.write_text(own["certificate"])
    key.write_text(own["privateKey"])
    settings = {
        "listenAddress": f"127.0.0.1:{api}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(ca),
        "privateKey": str(key),
        "httpPort": http_port,
        "tlsPort": tls_port,
    }
    config.write_text(json.dumps({"pebble": settings}))
    environment = {
        "PATH": os.environ["PATH"],
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_VA_ALWAYS_VALID": "0",
        "PEBBLE_WFE_NONCEREJECT": "0",
        "PEBBLE_AUTHZREUSE": "0",
    }
    names = [
        "pebble-challtestsrv",
        "-dns01",
        f"127.0.0.1:{dns}",
        "-management",
        f"127.0.0.1:{dns_management}",
    ]
    names += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
    server = ["pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{dns}"]
    with contextlib.ExitStack() as running:
        log = running.enter_context((folder / "pebble.log").open("wb"))
        for command in (names, server):
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
            running.callback(process.wait)
            running.callback(process.kill)
        found = Pebble(f"https://localhost:{api}/dir", ca, f"https://localhost:{management}")
        _wait_for(api, management, dns_management)
        yield found


def _wait_for(*ports: int) -> None:
    until = time.monotonic() + _START_SECONDS
    for port in ports:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > until:
                raise TimeoutError("pebble did not start")
            time.sleep(0.05)

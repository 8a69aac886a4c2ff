"""What callers see while the host is replaced: ``python -m bench.host_upgrade [--seconds N] [--rate N]``.

A host of its own in a temporary folder, one function on a small server, callers in an open loop (each request
is due at its time, whatever became of the one before; half on kept connections), and an upgrade every few
seconds. The last line is one JSON object: requests, lost ones, and how long callers waited around an upgrade
and otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from alibabacloud_fc20230330 import models as fc
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.utils_models import Config

from tickover.host.auth import load_credentials
from tickover.host.client import AdminClient
from tickover.host.daemon import start_host, stop_host, upgrade_host
from tickover.paths import host_dir

SERVER: Final = """
import asyncio, sys
async def serve(reader, writer):
    while head := await reader.readline():
        while (await reader.readline()).strip():
            pass
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    writer.close()
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024) as server:
        await server.serve_forever()
asyncio.run(main())
"""
AROUND_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 30.0
NAME: Final = "pause-bench"


@dataclass
class Seen:
    """(due, waited) of what was answered, why the others were not, and when an upgrade ran."""

    answered: list[tuple[float, float]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    upgrades: list[tuple[float, float]] = field(default_factory=list)


def declare(home: Path, url: str) -> None:
    credentials = load_credentials(host_dir(home) / "credentials.json")
    client = Client(
        Config(
            access_key_id=credentials.access_key_id,
            access_key_secret=credentials.access_key_secret,
            endpoint=url.removeprefix("http://"),
            protocol="http",
            region_id="local",
        )
    )
    container = fc.CustomContainerConfig(
        image="process://local", entrypoint=[sys.executable, "-c", SERVER], command=["${port}"]
    )
    function = fc.CreateFunctionInput(
        function_name=NAME,
        runtime="custom-container",
        handler="not-used",
        cpu=1,
        memory_size=1024,
        disk_size=512,
        timeout=60,
        instance_concurrency=100,
        custom_container_config=container,
    )
    client.create_function(fc.CreateFunctionRequest(body=function))
    pool = fc.PutProvisionConfigInput(default_target=1, always_allocate_cpu=True, always_allocate_gpu=True)
    client.put_provision_config(NAME, fc.PutProvisionConfigRequest(qualifier="LATEST", body=pool))
    config = json.dumps({"authType": "anonymous", "methods": ["GET"]})
    trigger = fc.CreateTriggerInput(
        trigger_name="web", trigger_type="http", qualifier="LATEST", trigger_config=config
    )
    client.create_trigger(NAME, fc.CreateTriggerRequest(body=trigger))
    while not any(view["state"] == "ready" for view in AdminClient(home).instances()):
        time.sleep(0.05)


class Callers:
    """An open loop against one port."""

    def __init__(self, port: int, seen: Seen) -> None:
        self._port = port
        self._seen = seen
        self._kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, rate: int, seconds: float) -> None:
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self._ask(due, keep=number % 2 == 0))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.gather(*self._tasks)
        for _, writer in self._kept:
            writer.close()

    async def _ask(self, due: float, *, keep: bool) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                reader, writer = (
                    self._kept.pop()
                    if keep and self._kept
                    else await asyncio.open_connection("127.0.0.1", self._port)
                )
                writer.write(b"GET /fn/%s/ HTTP/1.1\r\nHost: bench\r\n\r\n" % NAME.encode())
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(2)
        except (OSError, EOFError, TimeoutError) as error:
            self._seen.lost.append(repr(error))
            return
        if not head.startswith(b"HTTP/1.1 200") or body != b"ok":
            self._seen.lost.append(head.partition(b"\r\n")[0].decode())
            return
        self._seen.answered.append((due, time.monotonic() - due))
        if keep:
            self._kept.append((reader, writer))
        else:
            writer.close()


async def measure(home: Path, port: int, rate: int, seconds: float, every: float) -> Seen:
    seen = Seen()
    load = asyncio.create_task(Callers(port, seen).run(rate, seconds))
    await asyncio.sleep(every / 2)
    while not load.done():
        began = time.monotonic()
        await asyncio.to_thread(upgrade_host, home, 60.0)
        seen.upgrades.append((began, time.monotonic()))
        await asyncio.wait({load}, timeout=every)
    await load
    return seen


def told(seen: Seen) -> dict[str, Any]:
    def around(due: float) -> bool:
        return any(began <= due <= ended + AROUND_SECONDS for began, ended in seen.upgrades)

    near = sorted(waited for due, waited in seen.answered if around(due))
    far = sorted(waited for due, waited in seen.answered if not around(due))
    worst = [
        max((w for due, w in seen.answered if began <= due <= ended), default=0.0)
        for began, ended in seen.upgrades
    ]
    took = sorted(ended - began for began, ended in seen.upgrades)
    return {
        "requests": len(seen.answered) + len(seen.lost),
        "lost": len(seen.lost),
        "reasons": sorted(set(seen.lost))[:5],
        "upgrades": len(seen.upgrades),
        "upgrade_ms": {"p50": _ms(_at(took, 0.5)), "max": _ms(_at(took, 1.0))},
        "pause_ms": {"p50": _ms(_at(sorted(worst), 0.5)), "max": _ms(_at(sorted(worst), 1.0))},
        "wait_ms_around": {"p50": _ms(_at(near, 0.5)), "p99": _ms(_at(near, 0.99))},
        "wait_ms_else": {"p50": _ms(_at(far, 0.5)), "p99": _ms(_at(far, 0.99)), "max": _ms(_at(far, 1.0))},
    }


def _at(ranked: list[float], share: float) -> float:
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))] if ranked else 0.0


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=100, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between upgrades")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        info = start_host(home, 0)
        try:
            declare(home, info.url)
            port = int(info.url.rpartition(":")[2])
            seen = asyncio.run(measure(home, port, given.rate, given.seconds, given.every))
        finally:
            stop_host(home)
    found = told(seen)
    print(json.dumps(found))
    return int(found["lost"] > 0)


if __name__ == "__main__":
    sys.exit(main())

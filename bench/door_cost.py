"""What the front door costs a request: a whole host (bearer token, routing, admission, meter) on loopback.

``python bench/door_cost.py [TREE …]``: one host for each source tree (default: this one), asked in turns with
the instance itself. Prints one JSON object: for each tree the median time added to a request on
one connection, and the host's processor time per request on one and on sixteen. Bounded: seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 90}]}).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: application/json\r\ncontent-length: 120\r\n\r\n"
    + b"y" * 120
)
ROUNDS, BATCH = 12, 250


def request(path: str) -> bytes:
    """What an OpenAI client sends, more or less."""
    head = (
        f"POST {path}v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:9797\r\nAccept: application/json\r\n"
        "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"
        "User-Agent: OpenAI/Python 2.0\r\nAuthorization: Bearer bench\r\nX-Stainless-Lang: python\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY


# -- the processes that are asked ----------------------------------------------------------------------


class Instance(asyncio.Protocol):
    """A model server that takes no time."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.left = b""

    def data_received(self, data: bytes) -> None:
        data = self.left + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if len(data) < end + 4 + size:
                break
            data = data[end + 4 + size :]
            self.transport.write(ANSWER)
        self.left = data


async def serve_instance(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Instance, "127.0.0.1", port)
    await server.serve_forever()


def serve_host(home: Path) -> None:
    """A host with one function and its one instance; says its URL on a line."""
    import uvloop

    from tickover.host.folder import prepare
    from tickover.host.pool import ReservedPool
    from tickover.host.ports import bind
    from tickover.host.server import Host, HostPool, HostSettings, PoolNeeds
    from tickover.host.store import Kind, Row

    def make_pool(needs: PoolNeeds) -> HostPool:
        bearer = {"tokens": [{"token": "bench"}]}
        trigger = {"authType": "bearer", "methods": [], "authConfig": json.dumps(bearer)}
        spec = {
            "functionName": "chat",
            "runtime": "custom-container",
            "handler": "not-used",
            "cpu": 1,
            "memorySize": 1024,
            "diskSize": 512,
            "timeout": 600,
            "instanceConcurrency": 64,
            "customContainerConfig": {
                "image": "process://local",
                "entrypoint": [sys.executable, str(HERE)],
                "command": ["--instance", "${port}"],
            },
        }
        needs.registry.put(
            Row(Kind.FUNCTION, "", "chat", spec, {"functionId": "f", "nextVersion": 1}, 1, 1),
            Row(
                Kind.TRIGGER,
                "chat",
                "http",
                {"triggerType": "http", "qualifier": "LATEST", "triggerConfig": trigger},
                {"triggerId": "t"},
                1,
                1,
            ),
            Row(Kind.PROVISION, "chat", "LATEST", {"defaultTarget": 1, "alwaysAllocateCPU": False}, {}, 1, 1),
        )
        return ReservedPool(needs.registry, needs.db_path, needs.data_dir, needs.nas, account=needs.account)

    async def main() -> None:
        settings = HostSettings(home, port=0, grace_seconds=0.2)
        prepare(home)
        bound = bind("127.0.0.1", 0, settings.directory / "port")
        with contextlib.closing(bound.sock):
            host = Host(settings, bound, make_pool)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.request_stop)
            await host.run(lambda facts: print(facts["url"], flush=True))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


# -- asking --------------------------------------------------------------------------------------------


@dataclass
class Target:
    """Something to ask, over one connection of its own."""

    port: int
    raw: bytes
    pid: int = 0

    def __post_init__(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> int:
        began = time.perf_counter_ns()
        self.sock.sendall(self.raw)
        answer = b""
        while not answer.endswith(b"y" * 8):
            answer += self.sock.recv(65536)
        if b" 200 OK" not in answer[:20]:
            raise RuntimeError(answer.decode())
        return time.perf_counter_ns() - began

    def cpu_ns(self) -> int:
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0])


@contextlib.contextmanager
def host(tree: Path, profile: Path | None = None) -> Iterator[Target]:
    """A host of a source tree, with its instance up."""
    with tempfile.TemporaryDirectory() as home:
        wanted = ["--host", home, *(["--profile", str(profile)] if profile else [])]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        command = [sys.executable, str(HERE), *wanted]
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            url = child.stdout.readline().decode().strip()
            target = Target(int(url.rpartition(":")[2]), request("/fn/chat/"), child.pid)
            target.ask()
            yield target
            target.sock.close()
        finally:
            child.terminate()
            child.wait(30)
            child.stdout.close()


@contextlib.contextmanager
def instance() -> Iterator[Target]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    child = subprocess.Popen([sys.executable, str(HERE), "--instance", str(port)])
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                target = Target(port, request("/"))
                break
            time.sleep(0.05)
        yield target
        target.sock.close()
    finally:
        child.terminate()
        child.wait(30)


async def at_once(target: Target, connections: int, each: int) -> None:
    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        for _ in range(each):
            writer.write(target.raw)
            await reader.readuntil(b"y" * 120)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(connections)))


def cpu_per_request(target: Target, work: Callable[[], None], count: int) -> float:
    before = target.cpu_ns()
    work()
    return (target.cpu_ns() - before) / count / 1000


def measure(trees: list[Path]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(instance())
        hosts = {str(tree): stack.enter_context(host(tree)) for tree in trees}
        times: dict[str, list[int]] = {name: [] for name in ("direct", *hosts)}
        cpu: dict[str, list[float]] = {name: [] for name in hosts}
        busy: dict[str, list[float]] = {name: [] for name in hosts}
        for _ in range(ROUNDS):
            times["direct"] += [direct.ask() for _ in range(BATCH)]
            for name, target in hosts.items():
                ask = target.ask
                cpu[name].append(
                    cpu_per_request(
                        target, lambda n=name, a=ask: times[n].extend(a() for _ in range(BATCH)), BATCH
                    )
                )
                busy[name].append(
                    cpu_per_request(
                        target, lambda t=target: asyncio.run(at_once(t, 16, BATCH // 16)), BATCH // 16 * 16
                    )
                )
        base = statistics.median(times["direct"])
        found["direct_p50_us"] = round(base / 1000, 1)
        for name in hosts:
            found[name] = {
                "added_p50_us": round((statistics.median(times[name]) - base) / 1000, 1),
                "cpu_us_c1": round(statistics.median(cpu[name]), 1),
                "cpu_us_c16": round(statistics.median(busy[name]), 1),
            }
    return found


def profiled(path: Path) -> None:
    with host(HERE.parent.parent, path) as target:
        for _ in range(4000):
            target.ask()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trees", nargs="*", type=Path, default=[HERE.parent.parent])
    parser.add_argument("--profile", type=Path, help="write a cProfile of the host there instead")
    parser.add_argument("--instance", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--host", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.instance:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_instance(given.instance))
    elif given.host and given.profile:
        watch = cProfile.Profile(time.process_time)
        watch.runcall(serve_host, given.host)
        watch.dump_stats(given.profile)
    elif given.host:
        serve_host(given.host)
    elif given.profile:
        profiled(given.profile)
    else:
        print(json.dumps(measure([tree.resolve() for tree in given.trees])))


if __name__ == "__main__":
    main()

"""Measures the front door beside nginx and HAProxy, in one run, each on one core of its own in turn.

The host, nginx and HAProxy share one core and are loaded one after the other; the load generator and the
upstreams are on another. The upstreams are instances of functions of the host, and the same processes are
behind all three. tickover checks a bearer token, meters, and writes its log; nginx and HAProxy write access
logs. Prints one JSON object as its last line. Installs nothing; figures are reported, never asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.front import fronts, load  # noqa: E402 - needs the path
from bench.front.fronts import Front, cpu_seconds, rss_bytes  # noqa: E402
from bench.hosted import BenchHost, bench_folder, end_on_signal  # noqa: E402

UPSTREAM: Final = Path(__file__).resolve().parent / "front/upstream.py"
TARGETS: Final = {
    "rps of nginx": 0.6, "added_p50_ms": 0.15, "sse_cpu_us_per_chunk": 30, "sse_first_byte_ms": 10,
    "websocket_mb_10000": 300, "open_loop_p99_ms": 5,
}  # fmt: skip
PER_INSTANCE: Final = 200  # the greatest instanceConcurrency
SPARE_FILES: Final = 2000


def declare(host: BenchHost, folder: Path, core: int, sockets: int) -> tuple[int, int]:
    """The two upstreams as functions; the ports of their first instances."""
    python = ["/usr/bin/env", "taskset", "-c", str(core), sys.executable, str(UPSTREAM)]
    token, ports = load.TOKEN, []
    for name, words in (("small", ["nginx"]), ("events", ["events"])):
        given = [
            *python,
            *words,
            "--port",
            "${port}",
            *(["--folder", str(folder)] if name == "small" else []),
        ]
        host.declare(name, given, {}, token=token)
        host.reserve(name, 1, idles=False)
        ports.append(int(host.until_up(name, 1)[0]["port"]))
    return ports[0], ports[1]


def throughput(all_fronts: list[Front], seconds: int, rounds: int) -> dict[str, dict[str, float]]:
    """At 64 connections: medians of rounds, in each round one front after the other."""
    found: dict[str, list[load.Pressed]] = {front.name: [] for front in all_fronts}
    for _ in range(rounds):
        for front in all_fronts:
            found[front.name].append(load.pressed(front, 64, seconds))

    def medians(pick: Callable[[load.Pressed], float], digits: int) -> dict[str, float]:
        return {name: round(statistics.median(map(pick, runs)), digits) for name, runs in found.items()}

    return {
        "rps": medians(lambda run: run.rps, 0),
        "cpu_us_per_request": medians(lambda run: run.cpu_us, 1),
        "busy": medians(lambda run: run.busy, 2),
    }


def added(all_fronts: list[Front], small: int, rounds: int) -> dict[str, float]:
    """What each adds to the median of a request at one connection, in ms."""
    targets = {front.name: (front.port, front.small) for front in all_fronts}
    medians = load.latencies_ms({"direct": (small, "/"), **targets}, rounds)
    return {front.name: round(medians[front.name] - medians["direct"], 3) for front in all_fronts}


def streaming(all_fronts: list[Front], count: int, chunks: int, gap: float) -> dict[str, dict[str, float]]:
    """Processor time per event of each front, and the median time to the first event."""
    cost: dict[str, float] = {}
    first: dict[str, float] = {}
    for front in all_fronts:
        before = cpu_seconds(front.pid)
        done = uvloop.run(load.streams(front, count, chunks, gap))
        spent = cpu_seconds(front.pid) - before
        cost[front.name] = round(spent * 1e6 / sum(stream.events for stream in done), 1)
        first[front.name] = round(statistics.median(stream.first_ms for stream in done), 2)
    return {"sse_cpu_us_per_chunk": cost, "sse_first_byte_ms": first}


def open_loops(all_fronts: list[Front], seconds: float) -> dict[str, dict[str, float]]:
    """Of each front at 1,000 requests/s; the others show what of it is the machine's."""
    found = {}
    for front in all_fronts:
        taken = uvloop.run(load.open_loop(front.port, front.small, 1000, seconds))
        parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        found[front.name] = {name: round(load.percentile(taken, part), 2) for name, part in parts.items()}
    return found


def idle_websockets(host: BenchHost, wanted: int) -> dict[str, Any]:
    """Memory of the host with that many silent WebSockets, as many as the limit of open files allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(wanted, (most - SPARE_FILES) // 2)  # the host has two for each
    if count <= 0:
        return {}
    instances = -(-count // PER_INSTANCE)
    host.reserve("events", instances, idles=False)
    host.until_up("events", instances, 90)
    before = rss_bytes(host.pid)
    began = time.monotonic()

    async def held() -> tuple[int, int]:
        async with load.websockets(host.port or 0, "/fn/events.live/", count) as opened:
            await asyncio.sleep(1)
            return opened, rss_bytes(host.pid)

    opened, after = asyncio.run(held())
    host.reserve("events", 1, idles=False)
    mib = (after - before) / 2**20
    return {
        "open": opened,
        "opened_in_s": round(time.monotonic() - began - 1, 1),
        "host_rss_mib": round(after / 2**20),
        "added_mib": round(mib),
        "mib_for_10000": round(mib * 10_000 / opened),
    }


def measure(
    host: BenchHost, folder: Path, given: argparse.Namespace, cores: tuple[int, int]
) -> dict[str, Any]:
    front_core, load_core = cores
    small, events = declare(host, folder, load_core, given.websockets)
    own = Front("tickover", host.port or 0, "/fn/small.live/", "/fn/events.live/sse", host.pid)
    with contextlib.ExitStack() as stack:
        all_fronts = [
            own,
            stack.enter_context(fronts.nginx(folder, front_core, small, events)),
            stack.enter_context(fronts.haproxy(folder, front_core, small, events)),
        ]
        found: dict[str, Any] = {**throughput(all_fronts, given.seconds, given.rounds)}
        found["added_p50_ms"] = added(all_fronts, small, given.requests)
        found |= streaming(all_fronts, 64, 200, 0.02)
        found["open_loop_1000_rps_ms"] = open_loops(all_fronts, given.open_loop_seconds)
    found["idle_websockets"] = idle_websockets(host, given.websockets)
    return found


def verdicts(found: dict[str, Any]) -> dict[str, bool]:
    """Which of the targets are met."""
    rps, sockets = found["rps"], found["idle_websockets"]
    return {
        "rps": rps["tickover"] >= TARGETS["rps of nginx"] * rps["nginx"],
        "added_p50_ms": found["added_p50_ms"]["tickover"] <= TARGETS["added_p50_ms"],
        "sse_cpu_us_per_chunk": found["sse_cpu_us_per_chunk"]["tickover"] <= TARGETS["sse_cpu_us_per_chunk"],
        "sse_first_byte_ms": found["sse_first_byte_ms"]["tickover"] <= TARGETS["sse_first_byte_ms"],
        "open_loop_p99_ms": found["open_loop_1000_rps_ms"]["tickover"]["p99"] <= TARGETS["open_loop_p99_ms"],
        **({"idle_websockets": sockets["mib_for_10000"] <= TARGETS["websocket_mb_10000"]} if sockets else {}),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the front door beside nginx and HAProxy.")
    parser.add_argument("--seconds", type=int, default=4, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=3, help="runs of wrk for each front")
    parser.add_argument("--requests", type=int, default=3000, help="for each front at one connection")
    parser.add_argument("--open-loop-seconds", type=float, default=5, help="for each front")
    parser.add_argument("--profile", type=Path, help="cProfile of the host; the figures are then its own")
    parser.add_argument("--websockets", type=int, default=10_000, help="0: none")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    end_on_signal()
    if absent := fronts.missing():
        sys.exit(
            f"error: this bench needs commands that are not installed. apt-get install {' '.join(absent)}"
        )
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        sys.exit("error: this bench needs two cores: one for the fronts, one for the load")
    cores = (usable[0], usable[1])
    os.sched_setaffinity(0, {cores[1]})
    with bench_folder() as folder, BenchHost(folder / "home", cores[0], given.profile) as host:
        found = measure(host, folder, given, cores)
    found["met"] = verdicts(found)
    found["machine"] = f"{len(usable)} cores, {platform.release()}, Python {platform.python_version()}"
    found["at"] = datetime.now(UTC).isoformat(timespec="minutes")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

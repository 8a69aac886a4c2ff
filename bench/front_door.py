"""The front door beside nginx and HAProxy: requests a second, what is added to one, events, memory.

Each proxy has one core of its own and the same servers behind it; the loads and the servers share the other
core. tickover asks for a bearer token, meters, and writes its log; the others log too. Prints a table and, as
its last line, one JSON object. Asserts nothing. Installs nothing: says which package is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.front import load  # noqa: E402 - needs the path
from bench.front.sides import LOAD_CORE, Side, missing, rival, tickover  # noqa: E402

SHORT, EVENTS, SOCKET = "/fn/short/", "/fn/long/events", "/fn/ws/"
RIVALS = ("nginx", "haproxy")
BURSTS = 8  # of streams begun at once: the first events of a single burst tell little


def measure(side: Side, direct: load.Told, seconds: float) -> dict[str, Any]:
    """One proxy."""
    load.wrk(side.port, SHORT, 8, 1)  # connections and code are warm
    one = load.wrk(side.port, SHORT, 1, seconds)
    before = load.cpu_seconds(side.pids)
    many = load.wrk(side.port, SHORT, 64, seconds)
    spent = load.cpu_seconds(side.pids) - before
    sse = load.streams(side.port, EVENTS, side.pids, 64, 200, 0.02)
    bursts = [load.streams(side.port, EVENTS, side.pids, 64, 3, 0.02).first_ms for _ in range(BURSTS)]
    half, tail = load.open_loop(side.port, SHORT, 1000, seconds, 64)
    return {
        "rps": round(many.rps),
        # A proxy that is not busy was held back by the load: then its time per request tells more.
        "cpu_us_per_request": round(spent * 1e6 / (many.rps * seconds), 1),
        "busy": round(spent / seconds, 2),
        "added_p50_ms": round(one.p50_ms - direct.p50_ms, 3),
        "sse_cpu_us_per_chunk": round(sse.cpu_us, 1),
        "sse_first_ms": round(statistics.median([sse.first_ms, *bursts]), 2),
        "open_loop_p50_ms": round(half, 2),
        "open_loop_p99_ms": round(tail, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load")
    parser.add_argument("--websockets", type=int, default=10_000)
    given = parser.parse_args()
    if lacking := missing():
        print(f"error: missing programs. As root: apt-get install {' '.join(lacking)}", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2:
        print("error: two cores are needed, one for the proxy and one for the load", file=sys.stderr)
        return 2
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    websockets = min(given.websockets, (most - 1000) // 2)  # the host has two descriptors for each
    os.sched_setaffinity(0, {LOAD_CORE})
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="front-door-") as name:
        folder = Path(name)
        with tickover(folder / "host", websockets) as (side, short, long):
            direct = load.wrk(short, "/", 1, given.seconds)
            found["tickover"] = measure(side, direct, given.seconds)
            for other in RIVALS:
                with rival(other, folder, short, long) as there:
                    found[other] = measure(there, direct, given.seconds)
            before, after = load.websockets(side.port, SOCKET, side.pids[0], websockets)
    rows = list(found["tickover"])
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, direct p50 {direct.p50_ms:.3f} ms\n")
    print(f"| what | {' | '.join(found)} |\n|---{'|---' * len(found)}|")
    for row in rows:
        print(f"| {row} | {' | '.join(str(found[side][row]) for side in found)} |")
    print(f"\n{websockets} idle WebSockets: host {before:.0f} MiB before, {after:.0f} with them")
    told: dict[str, Any] = {row: {name: found[name][row] for name in found} for row in rows}
    told["direct_p50_ms"] = round(direct.p50_ms, 3)
    told["websockets"] = {"open": websockets, "before_mib": round(before), "with_mib": round(after)}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Counts lost and doubled requests while everything happens to a host that may happen.

A host of its own, functions with short lingers behind aliases, open-loop requests in bursts (half of them
streamed, each with an id of its own), and meanwhile deploys, upgrades of the host, `kill -9` of the host, of
successors that take over, and of instances. The servers write down every id they get. Prints one JSON object
as its last line. Ends what it has started; bounded in time. Counts are reported, never asserted: tests do.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.hosted import BenchHost, bench_folder, end_on_signal  # noqa: E402 - needs the path
from bench.loss.asking import Plan, ask_all  # noqa: E402
from bench.loss.count import Evidence, counts, read_deliveries, read_reasons  # noqa: E402
from bench.loss.trouble import VARIABLES, Troublemaker, schedule  # noqa: E402

SERVER: Final = Path(__file__).resolve().parent / "loss/server.py"
FUNCTIONS: Final = ("loss-a", "loss-b", "loss-c", "loss-d")
SHOWN: Final = 50  # of the lost requests
PER_TROUBLE: Final = 5000  # requests for each trouble of a kind


@dataclass(frozen=True, slots=True)
class Wanted:
    """requests at a rate; troubles: of each kind."""

    requests: int
    rate: float
    troubles: int
    burst: int = 10
    seed: int = 6


def run(folder: Path, wanted: Wanted) -> dict[str, Any]:
    """One run in a fresh folder; its counts."""
    plan = Plan(wanted.requests, wanted.rate, wanted.burst, FUNCTIONS)
    record = folder / "delivered"
    record.touch()
    with BenchHost(folder / "home") as host:
        for name in FUNCTIONS:
            words = [sys.executable, str(SERVER), "--port", "${port}", "--file", str(record)]
            host.declare(name, words, VARIABLES, concurrency=16, timeout=60)
            host.reserve(name, 2, idles=True)
        for name in FUNCTIONS:
            host.until_up(name, 2)
        began = time.monotonic() + 0.5
        maker = Troublemaker(host, FUNCTIONS, began, wanted.seed)
        failures: list[BaseException] = []

        def trouble() -> None:
            try:
                maker.run(schedule(wanted.troubles, plan.seconds, wanted.seed))
            except BaseException as problem:  # noqa: BLE001 - raised again below, in the main thread
                failures.append(problem)

        beside = threading.Thread(target=trouble, daemon=True)
        beside.start()
        port = host.port or 0
        outcomes = uvloop.run(ask_all(plan, port, began, f"r{wanted.seed}"))
        beside.join(60)
        if failures:
            raise failures[0]
        time.sleep(1)  # the access log is written a little later
        evidence = Evidence(
            outcomes,
            read_deliveries(record.read_text()),
            maker.host_kills,
            maker.successor_kills,
            maker.instance_kills,
            read_reasons(host.access_log),
        )
    took = time.monotonic() - began
    for lost in [outcome for outcome in outcomes if outcome.error][:SHOWN]:
        print(lost, file=sys.stderr)
    print(*maker.instance_kills, *maker.host_kills, *maker.successor_kills, sep="\n", file=sys.stderr)
    waits = sorted(o.ended - o.sent for o in outcomes if not o.error)
    return {
        **counts(evidence),
        "deploys": maker.deploys,
        "upgrades": maker.upgrades,
        "successors_undone": maker.undone,
        "longest_host_down_s": round(maker.down_seconds, 2),
        "troubles_late_s": round(maker.late_seconds, 2),
        "longest_s": round(waits[-1], 2) if waits else None,
        "seconds": round(took, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Count lost requests under wakes, deploys and kills.")
    parser.add_argument("-n", "--requests", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second")
    parser.add_argument("--troubles", type=int, help="of each kind (default: one for 5,000 requests)")
    parser.add_argument("--seed", type=int, default=6)
    given = parser.parse_args()
    if given.requests < 1 or given.rate <= 0:
        parser.error("-n and --rate must be greater than 0")
    troubles = max(1, given.requests // PER_TROUBLE) if given.troubles is None else given.troubles
    end_on_signal()
    with bench_folder() as folder:
        found = run(folder, Wanted(given.requests, given.rate, troubles, seed=given.seed))
    found["machine"] = f"{platform.release()}, Python {platform.python_version()}"
    found["at"] = datetime.now(UTC).isoformat(timespec="minutes")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

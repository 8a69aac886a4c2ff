"""Who answers the requests of a session: its own instance, whatever happens around it?

A host of its own with a function for each kind of session affinity, callers that ask several things at a
time, pauses in which all instances go idle, and meanwhile instances that are killed, replaced, added and
taken away. Prints one JSON object as its last line. Ends what it has started; bounded in time. Counts are
reported, never asserted: tests/e2e does that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.affinity.callers import HEADER, Caller, Seen  # noqa: E402 - needs the path
from bench.affinity.trouble import LINGER_SECONDS, VARIABLES, Troublemaker, schedule  # noqa: E402
from bench.hosted import BenchHost, bench_folder, end_on_signal  # noqa: E402

SERVER: Final = Path(__file__).resolve().parent / "affinity/server.py"
FUNCTIONS: Final = {
    "session-cookie": "GENERATED_COOKIE",
    "session-header": "HEADER_FIELD",
    "session-mcp": "MCP_STREAMABLE",
    "session-sse": "MCP_SSE",
}
PAUSE_SECONDS: Final = LINGER_SECONDS + 0.5  # in which an instance goes idle
LONGEST_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """requests that are judged, all kinds together; callers and instances of each function."""

    requests: int
    callers: int = 24
    instances: int = 3
    cycles: int = 8  # of troubles; one for each function in each
    active_seconds: float = 4.0  # between two pauses
    seed: int = 6

    @property
    def places(self) -> int:
        """Sessions on one instance: too few for all to be on one, enough for all with one instance less."""
        return -(-self.callers // (self.instances - 1)) + 2


def config(kind: str, places: int) -> dict[str, Any]:
    found: dict[str, Any] = {"sessionConcurrencyPerInstance": places}
    if kind == "HEADER_FIELD":
        found["affinityHeaderFieldName"] = HEADER
    return found


class Run:
    """The callers of one run, breathing: active, then all silent for as long as instances need to go idle."""

    def __init__(self, host: BenchHost, wanted: Wanted) -> None:
        self._host = host
        self._wanted = wanted
        self._awake = asyncio.Event()
        self._end = time.monotonic() + LONGEST_SECONDS
        self.seen = {name: Seen() for name in FUNCTIONS}
        self.pauses = 0

    @property
    def share(self) -> float:
        """How much of the run is over, 0 to 1."""
        mine = self._wanted.requests / len(FUNCTIONS)
        return sum(min(1.0, seen.judged / mine) for seen in self.seen.values()) / len(FUNCTIONS)

    async def go(self) -> None:
        dice = random.Random(self._wanted.seed)
        callers = [
            self._call(
                name, Caller(name, number, self._host.port or 0, self.seen[name], self._lives, dice), dice
            )
            for name in FUNCTIONS
            for number in range(self._wanted.callers)
        ]
        breath = asyncio.create_task(self._breathe())
        try:
            await asyncio.gather(*callers)
        finally:
            breath.cancel()

    async def _call(self, name: str, caller: Caller, dice: random.Random) -> None:
        mine = self._wanted.requests / len(FUNCTIONS)
        while self.seen[name].judged < mine and time.monotonic() < self._end:
            await self._awake.wait()
            await caller.round(FUNCTIONS[name])
            await asyncio.sleep(dice.uniform(0.0, 0.1))

    async def _breathe(self) -> None:
        while True:
            self._awake.set()
            await asyncio.sleep(self._wanted.active_seconds)
            self._awake.clear()
            self.pauses += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _lives(self, function: str, instance: str) -> bool:
        """By the host's word: it takes requests now, so it took them when it was asked."""
        found = await asyncio.to_thread(self._host.living, function)
        return any(view["instance_id"] == instance for view in found)


def run(folder: Path, wanted: Wanted) -> dict[str, Any]:
    """One run in a fresh folder; its counts."""
    with BenchHost(folder / "home") as host:
        words = [sys.executable, str(SERVER), "--port", "${port}"]
        for name, kind in FUNCTIONS.items():
            host.declare(name, words, VARIABLES, timeout=60, affinity=(kind, config(kind, wanted.places)))
            host.reserve(name, wanted.instances, idles=True)
        for name in FUNCTIONS:
            host.until_up(name, wanted.instances)
        return _measured(host, wanted)


def _measured(host: BenchHost, wanted: Wanted) -> dict[str, Any]:
    began = time.monotonic()
    course = Run(host, wanted)
    maker = Troublemaker(host, wanted.instances, lambda: course.share)
    failures: list[BaseException] = []
    plan = schedule(wanted.cycles, tuple(FUNCTIONS))
    beside = threading.Thread(target=_kept_failures, args=(lambda: maker.run(plan), failures), daemon=True)
    beside.start()
    uvloop.run(course.go())
    maker.is_over.set()
    beside.join(60)
    if failures:
        raise failures[0]
    return {
        "kinds": {FUNCTIONS[name]: _counts(seen) for name, seen in course.seen.items()},
        **maker.counts,
        "pauses": course.pauses,
        "against": [line for seen in course.seen.values() for line in seen.against],
        "seconds": round(time.monotonic() - began, 1),
    }


def _kept_failures(work: Callable[[], None], failures: list[BaseException]) -> None:
    try:
        work()
    except BaseException as problem:  # noqa: BLE001 - raised again in the main thread
        failures.append(problem)


def _counts(seen: Seen) -> dict[str, Any]:
    return {
        "requests": seen.judged,
        "affinity": round(seen.kept / seen.judged, 6) if seen.judged else None,
        "moved_while_alive": seen.moved,
        "refused_while_alive": seen.refused,
        "home_gone": seen.home_gone,
        "sessions": seen.begun,
        "instances": len(seen.homes),
        "wakes": seen.wakes,
        "instance_of_two_servers": seen.mislabelled,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Count requests of sessions by who answered them.")
    parser.add_argument("-n", "--requests", type=int, default=10_000)
    parser.add_argument("--callers", type=int, default=24, help="of each kind of session")
    parser.add_argument("--cycles", type=int, default=8, help="of kills, deploys, growing and shrinking")
    parser.add_argument("--full", action="store_true", help="200,000 requests, 32 cycles")
    parser.add_argument("--seed", type=int, default=6)
    given = parser.parse_args()
    if given.requests < 1 or given.callers < 2 or given.cycles < 0:
        parser.error("-n must be at least 1, --callers at least 2, --cycles at least 0")
    requests, cycles = (200_000, 32) if given.full else (given.requests, given.cycles)
    end_on_signal()
    with bench_folder() as folder:
        found = run(folder, Wanted(requests, given.callers, cycles=cycles, seed=given.seed))
    found["machine"] = f"{platform.release()}, Python {platform.python_version()}"
    found["at"] = datetime.now(UTC).isoformat(timespec="minutes")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Measures what a user of the main job waits for, on this machine, and prints a Markdown table.

Needs a running dev stack (`make up`). Bounded: a few hundred short requests, all on loopback.
Nothing here is a test: figures are reported, never asserted.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
TICKOVER = str(ROOT / ".venv/bin/tickover")


def run(*args: str) -> tuple[float, str]:
    """Wall seconds and standard output of one tickover command; fails loudly."""
    begin = time.perf_counter()
    done = subprocess.run([TICKOVER, *args], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        sys.exit(f"tickover {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def median_of(times: int, *args: str) -> float:
    """Median wall seconds of a command."""
    return statistics.median(run(*args)[0] for _ in range(times))


def instances() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run("ps", "--json")[1])["instances"]
    return [i for i in found if i["state"] not in ("stopped", "failed")]


def wait_idle(limit_seconds: float = 60) -> None:
    deadline = time.monotonic() + limit_seconds
    while any(i["state"] != "idle" for i in instances()):
        if time.monotonic() > deadline:
            sys.exit("the instance did not go idle")
        time.sleep(0.2)


def first_byte(connection: HTTPConnection, path: str, model: str) -> float:
    """Milliseconds from sending a streamed chat request to the first byte of its body."""
    body = json.dumps(
        {"model": model, "stream": True, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
    )
    begin = time.perf_counter()
    connection.request("POST", path + "/v1/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read(1)
    seconds = time.perf_counter() - begin
    response.read()
    return seconds * 1000


def small_get(connection: HTTPConnection, path: str) -> float:
    """Milliseconds of one GET /v1/models."""
    begin = time.perf_counter()
    connection.request("GET", path + "/v1/models")
    connection.getresponse().read()
    return (time.perf_counter() - begin) * 1000


def rss_mb(pid: int) -> float:
    """Resident memory in MiB, from /proc."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def command_rss_mb(*args: str) -> float:
    """Peak resident memory in MiB of one tickover command (ru_maxrss of the child)."""
    code = (
        "import resource,subprocess,sys;"
        "subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL,check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, TICKOVER, *args], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def p95(values: list[float]) -> float:
    """By nearest rank."""
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def door_rows(url: str, model: str) -> list[tuple[str, str]]:
    """First bytes and added latency, through the door and directly, alternating in one run."""
    parts = urlsplit(url)
    door = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    wakes = []
    for _ in range(40):
        wait_idle()
        wakes.append(first_byte(door, parts.path, model))
    warm = [first_byte(door, parts.path, model) for _ in range(40)]
    small_get(door, parts.path)
    port = next(int(str(i["port"])) for i in instances() if i["port"])
    direct = HTTPConnection("127.0.0.1", port, timeout=60)
    through, straight = [], []
    for _ in range(300):
        through.append(small_get(door, parts.path))
        straight.append(small_get(direct, ""))
    added = statistics.median(through) - statistics.median(straight)
    return [
        (
            "first byte, warm request (median / p95 of 40)",
            f"{statistics.median(warm):.1f} / {p95(warm):.1f} ms",
        ),
        (
            "first byte, wake of a frozen process (median / p95 / max of 40)",
            f"{statistics.median(wakes):.1f} / {p95(wakes):.1f} / {max(wakes):.1f} ms",
        ),
        (
            "wake of a frozen process: added to first byte (of medians / of p95)",
            f"{statistics.median(wakes) - statistics.median(warm):.1f} / {p95(wakes) - p95(warm):.1f} ms",
        ),
        (
            "front door, GET /v1/models: through / direct / added (median of 300)",
            f"{statistics.median(through):.3f} / {statistics.median(straight):.3f} / {added:.3f} ms",
        ),
    ]


def main() -> int:
    outputs = json.loads(run("stack", "output", "-s", "dev", "--json")[1])
    status = json.loads(run("host", "status", "--json")[1])
    rows = [
        ("`tickover --help` (median of 5)", f"{median_of(5, '--help'):.3f} s"),
        (
            "`tickover preview -s dev`, nothing to change (median of 3)",
            f"{median_of(3, 'preview', '-s', 'dev'):.2f} s",
        ),
        (
            "`tickover up -s dev --yes`, nothing to change (median of 3)",
            f"{median_of(3, 'up', '-s', 'dev', '--yes'):.2f} s",
        ),
        *door_rows(outputs["urls"]["chat"], outputs["models"]["chat"]),
        ("RSS of the host", f"{rss_mb(int(status['pid'])):.0f} MiB"),
        (
            "peak RSS of the engine, `tickover preview -s dev`",
            f"{command_rss_mb('preview', '-s', 'dev'):.0f} MiB",
        ),
    ]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}\n"
    )
    print("| what | figure |\n|---|---|")
    for what, figure in rows:
        print(f"| {what} | {figure} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

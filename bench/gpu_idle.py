"""Measures how a GPU function goes idle and comes back, through the front door of a host on this machine.

Starts a host of its own, declares functions through Alibaba Cloud's client, and measures: the card's memory
while idle, the wake to the first token by rung and model size, whether the greedy tokens stay the same, two
functions that take turns on one card, growth over the cycles, requests lost. Prints a Markdown table and, as
its last line, one JSON object. Ends what it has started, and by itself when its time is up.

Needs a machine with an NVIDIA card and vLLM, which it looks for; makes the models that are missing. With
--stand-in tiny servers and a simulated card, which rehearses the flow and measures nothing of interest.
Nothing here is a test: figures are reported, never asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.gpu import stand_in  # noqa: E402 - needs the path
from bench.gpu.declare import Declarer, Wanted  # noqa: E402
from bench.gpu.figures import by_size, table  # noqa: E402
from bench.gpu.finding import MODELS, models, python_with_vllm  # noqa: E402
from bench.gpu.phases import ASLEEP, CHECKPOINTED, OutOfTime, Row, Run, Served  # noqa: E402
from bench.gpu.steps import Steps  # noqa: E402
from bench.gpu.watching import Watch, members  # noqa: E402
from tickover.host.client import AdminClient  # noqa: E402
from tickover.host.daemon import HostInfo, start_host, stop_host  # noqa: E402
from tickover.host.runtimes import procfs  # noqa: E402

EMPTY_SECONDS = 15.0  # a killed engine's memory comes back within 5 s
# Long enough asleep for a swap back before the driver's checkpoint begins, which a wake has to wait for.
BIG = Wanted(
    "big-a", "8B", "qwen3-8b", "fc.gpu.ada.1", 65536, share=0.5, linger_seconds=0.5, deep_after_seconds=3.6
)
SMALL = Wanted(
    "small",
    "0.6B",
    "qwen3-0.6b",
    "fc.gpu.tesla.1",
    32768,
    share=0.15,
    linger_seconds=0.3,
    deep_after_seconds=0.5,
)


@dataclass(slots=True)
class Report:
    """All rows so far, kept in a file as they come."""

    folder: Path
    began: float = field(default_factory=time.monotonic)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def write(self, name: str, row: Row) -> None:
        self.rows.setdefault(name, []).append(row)
        told = {"stage": name, "at": round(time.monotonic() - self.began, 3), **row}
        with (self.folder / "rows.jsonl").open("a") as file:
            file.write(json.dumps(told) + "\n")
        shown = {k: v for k, v in told.items() if k not in ("tokens", "logprobs", "warm_ms")}
        print(json.dumps(shown), file=sys.stderr, flush=True)

    def told(self) -> dict[str, Any]:
        """Everything as one object: the facts, each start, and the figures by the model's size and stage."""
        starts = [row for name, rows in self.rows.items() if name.endswith(" start") for row in rows]
        stages: dict[str, list[Row]] = {}
        for name, rows in self.rows.items():
            if not name.endswith(" start"):
                stages[name] = rows
            elif warm := [ms for row in rows for ms in row.get("warm_ms", ())]:
                stages[name.replace("start", "warm")] = [{"request_to_first_token_ms": ms} for ms in warm]
        return {**self.facts, "starts": starts, "models": by_size(stages)}

    def save(self) -> None:
        (self.folder / "gpu_idle.json").write_text(json.dumps(self.told(), indent=1) + "\n")


def measure(run: Run, declarer: Declarer, report: Report, given: argparse.Namespace) -> None:
    """The stages, in the order of their worth."""
    flags = tuple(given.flag)
    more = dict(pair.split("=", 1) for pair in given.env)
    big, small = (replace(wanted, more=more, flags=flags) for wanted in (BIG, SMALL))

    def up(wanted: Wanted) -> Served | None:
        served = Served(wanted.name, wanted.model, declarer.declare(wanted))
        is_up = run.start(f"{wanted.size} start", served, lambda: declarer.trouble(wanted.name))
        return served if is_up else None

    def cycle(size: str, served: Served | None) -> None:
        if served is None:
            return
        for rung in given.rungs:
            run.cycles(f"{size} {rung}", served, rung, given.cycles)
            report.save()

    first = up(big) if "big" in given.stages else None
    cycle(big.size, first)
    if first and given.moments:
        run.at_any_moment(f"{big.size} any moment", first, given.moments, 6.0)
    if first:
        run.until_rung(first, given.rungs[-1])  # what it leaves on the card is not counted as another's
    if "small" in given.stages:
        cycle(small.size, up(small))
        declarer.drop(small.name)
    second = up(replace(big, name="big-b")) if first and "swap" in given.stages else None
    if first is None or second is None:
        return
    for rung in given.rungs:
        run.swaps(f"{big.size} swap {rung}", (first, second), rung, given.swaps)
        report.save()


def finish(run: Run, report: Report, home: Path, info: HostInfo, floor_mib: int | None) -> None:
    """End the host and see that nothing is left."""
    pids = {
        pid
        for instance in run.admin.instances()
        if instance["state"] not in ("stopped", "failed")
        for pid in members(instance["instance_id"], instance.get("pid"))
    }
    began = time.monotonic()
    stop_host(home)
    end = time.monotonic() + EMPTY_SECONDS
    while (left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]) or not _is_empty(run, floor_mib):
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    report.facts |= {
        "requests": run.sent,
        "requests_lost": len(run.lost),
        "lost": run.lost,
        "processes_left": left,
        "card_mib_at_the_end": run.watch.card_mib(),
        "stop_seconds": round(time.monotonic() - began, 1),
    }
    stat = procfs.read_stat(info.pid)
    report.facts["is_host_left"] = stat is not None and stat.is_alive


def _is_empty(run: Run, floor_mib: int | None) -> bool:
    now = run.watch.card_mib()
    return now is None or floor_mib is None or now <= floor_mib + 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure idling and waking of GPU functions on this machine."
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build/gpu-idle", help="folder of the results")
    parser.add_argument("--home", type=Path, help="data folder of the host (default: a fresh one)")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the models, made if missing")
    parser.add_argument("--python", help="the interpreter that has vLLM (default: looked for)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="for the servers")
    parser.add_argument("--flag", action="append", default=[], help="for vLLM, as --flag=--enforce-eager")
    parser.add_argument("--stages", nargs="+", default=["big", "small", "swap"])
    parser.add_argument("--rungs", nargs="+", default=[ASLEEP, CHECKPOINTED])
    parser.add_argument("--cycles", type=int, default=30)
    parser.add_argument("--swaps", type=int, default=15, help="each way")
    parser.add_argument("--moments", type=int, default=20, help="requests at any moment")
    parser.add_argument("--minutes", type=float, default=20.0, help="no request is begun after that")
    parser.add_argument(
        "--stand-in", action="store_true", help="tiny servers and a simulated card: a rehearsal"
    )
    return parser.parse_args()


def prepared(given: argparse.Namespace, home: Path, watch: Watch) -> str:
    """The interpreter of the servers, once all that they need is there. Exits with what is missing."""
    if given.stand_in:
        return sys.executable
    if watch.card_mib() is None:
        sys.exit("error: no NVIDIA GPU is seen here (NVML); ARGS=--stand-in rehearses the bench without one.")
    variables = dict(pair.split("=", 1) for pair in given.env)
    python = given.python or python_with_vllm(variables)
    if not (home / "nas").exists():
        (home / "nas").symlink_to(models(given.models, python, variables).resolve())
    return str(python)


def main() -> int:
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    home = given.home or Path(tempfile.mkdtemp(prefix="tickover-gpu-"))
    home.mkdir(parents=True, exist_ok=True)
    watch = Watch(stand_in.machine(home).cards) if given.stand_in else Watch()
    python = prepared(given, home, watch)
    floor = watch.card_mib()
    report = Report(given.out)
    report.facts |= {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "machine": f"{watch.machine}; {platform.platform()}, Python {platform.python_version()}",
        "is_stand_in": given.stand_in,
        "empty_card_mib": floor,
        "environment": given.env,
        "flags": given.flag,
    }
    info = stand_in.start(home) if given.stand_in else start_host(home, 0)
    admin = AdminClient(home)
    run = Run(admin, watch, Steps(admin.metrics), report.write, time.monotonic() + given.minutes * 60)
    try:
        report.facts["host"] = admin.status()
        words = (lambda wanted: stand_in.words(home, wanted.share)) if given.stand_in else None
        measure(run, Declarer(info, home, python, words), report, given)
    except OutOfTime:
        report.facts["ended"] = "out of time"
    finally:
        finish(run, report, home, info, floor)
        report.save()
    told = report.told()
    if given.stand_in:
        print("STAND-IN: tiny servers and a simulated card. These are no figures of a GPU.\n")
    print(f"{told['date']}, {told['machine']}, empty card {floor} MiB, lost {len(run.lost)} of {run.sent}\n")
    print("\n".join(table(told["models"])))
    print(json.dumps(told))
    return 1 if run.lost else 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures the engine against the real Pulumi CLI and Terraform, in one run on this machine.

Prints Markdown tables, and as its last line one JSON object: seconds and peak memory by subject and
operation. The real CLI takes part where TICKOVER_PULUMI_CLI names its binary, Terraform where `terraform` is
on PATH. Nothing here is a test: figures are reported, never asserted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.real_pulumi import OURS, REAL, STACK, Workspace, cli_binary  # noqa: E402 - needs the path

PROGRAMS = ROOT / "bench/engine_programs"
SUITES = ("dynamic", "inprocess", "growth")
DYNAMIC = 256
THINGS = 1000
SIZES = (1000, 2000, 5000, 10000)
LIMIT_SECONDS = 1800.0
SAMPLE_SECONDS = 0.1
UP, SAME_PREVIEW, SAME_UP, DESTROY = "up", "no-change preview", "no-change up", "destroy"
OPERATIONS = (UP, SAME_PREVIEW, SAME_UP, DESTROY)
NAMES = {OURS: "tickover", REAL: "pulumi"}
# What `docs/benchmarks.md` compares with: (subject, operation) -> at most this part of the other's time.
BUDGETS = {UP: 1 / 3, DESTROY: 1 / 3, SAME_PREVIEW: 0.8, SAME_UP: 0.8}

Command = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Measured:
    seconds: float
    peak_mb: float


@dataclass(slots=True)
class Report:
    """subject -> operation -> figures, in the order measured."""

    figures: dict[str, dict[str, list[Measured]]] = field(default_factory=dict)

    def add(self, subject: str, operation: str, measured: Measured) -> None:
        self.figures.setdefault(subject, {}).setdefault(operation, []).append(measured)
        print(
            f"  {subject}: {operation} {measured.seconds:.2f} s, {measured.peak_mb:.0f} MB", file=sys.stderr
        )

    def seconds(self, subject: str, operation: str) -> float | None:
        found = self.figures.get(subject, {}).get(operation)
        return statistics.median(m.seconds for m in found) if found else None

    def peak(self, subject: str, operation: str) -> float | None:
        found = self.figures.get(subject, {}).get(operation)
        return statistics.median(m.peak_mb for m in found) if found else None


# --- one command --------------------------------------------------------------------------------------


def tree_mb(root: int) -> float:
    """Resident megabytes of a process and all below it."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:  # it has just ended
                continue
            fields = stat.rpartition(")")[2].split()
            pid = int(entry.name)
            children.setdefault(int(fields[1]), []).append(pid)
            resident[pid] = int(fields[21])
    pages, stack = 0, [root]
    while stack:
        pid = stack.pop()
        pages += resident.get(pid, 0)
        stack.extend(children.get(pid, ()))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Measured:
    """Run it; fails loudly."""
    peak = 0.0
    done = threading.Event()
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        begin = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )

        def watch() -> None:
            nonlocal peak
            while not done.is_set():
                peak = max(peak, tree_mb(process.pid))
                done.wait(SAMPLE_SECONDS)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            code = process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        seconds = time.perf_counter() - begin
        done.set()
        watcher.join()
        if code != 0:
            said.seek(0)
            sys.exit(f"{' '.join(words)} ended with {code}:\n{said.read()[-4000:]}")
    return Measured(seconds, peak)


def series(report: Report, subject: str, command: Command, cwd: Path, env: Mapping[str, str]) -> None:
    """All operations of one subject, one after another."""
    for operation in OPERATIONS:
        report.add(subject, operation, measure(command(operation), cwd, env))


# --- subjects -----------------------------------------------------------------------------------------

_PULUMI_WORDS = {
    UP: ("up", "--yes", "--skip-preview"),
    SAME_PREVIEW: ("preview", "--expect-no-changes"),
    SAME_UP: ("up", "--yes", "--skip-preview"),
    DESTROY: ("destroy", "--yes", "--skip-preview"),
}
_TERRAFORM_WORDS = {
    UP: ("apply", "-auto-approve", "-input=false", "-no-color"),
    SAME_PREVIEW: ("plan", "-input=false", "-no-color", "-detailed-exitcode"),
    SAME_UP: ("apply", "-auto-approve", "-input=false", "-no-color"),
    DESTROY: ("destroy", "-auto-approve", "-input=false", "-no-color"),
}
_INPROCESS_WORDS = {UP: "up", SAME_PREVIEW: "preview", SAME_UP: "up", DESTROY: "destroy"}


def dynamic(report: Report, folder: Path, engine: str, count: int) -> None:
    """The same program of dynamic resources under one engine, as its user runs it."""
    workspace = Workspace(folder / engine, name="bench")
    workspace.use(PROGRAMS / "dynamic")
    workspace.ok(engine, "stack", "init", STACK)
    workspace.write_config({"count": str(count)})

    def command(operation: str) -> Sequence[str]:
        return workspace.command(engine, (*_PULUMI_WORDS[operation], "-s", STACK))

    series(report, f"{NAMES[engine]} dynamic {count}", command, workspace.root, workspace.environment())


def inprocess(report: Report, folder: Path, count: int) -> None:
    """Our engine with a provider in its own process, so that the engine alone is measured."""
    root = folder / f"things-{count}"
    root.mkdir(parents=True, exist_ok=True)

    def command(operation: str) -> Sequence[str]:
        script = str(PROGRAMS / "inprocess.py")
        return (sys.executable, script, _INPROCESS_WORDS[operation], str(root))

    env = os.environ | {"BENCH_COUNT": str(count), "PYTHONDONTWRITEBYTECODE": "1"}
    series(report, f"tickover in-process {count}", command, root, env)


def terraform(report: Report, folder: Path, count: int) -> None:
    """Terraform with its own built-in resource: no provider process either."""
    root = folder / f"terraform-{count}"
    root.mkdir(parents=True)
    shutil.copy(PROGRAMS / "terraform/main.tf", root)
    (root / "none.tfrc").write_text("")
    env = os.environ | {
        "TF_VAR_total": str(count),
        "TF_CLI_CONFIG_FILE": str(root / "none.tfrc"),
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
    }
    measure(("terraform", "init", "-input=false", "-no-color"), root, env)

    def command(operation: str) -> Sequence[str]:
        return ("terraform", *_TERRAFORM_WORDS[operation])

    series(report, f"terraform terraform_data {count}", command, root, env)


# --- tables -------------------------------------------------------------------------------------------


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def shown(value: float | None, unit: str = " s") -> str:
    if value is None:
        return "-"
    return f"{value:.0f}{unit}" if unit == " MB" else f"{value:.2f}{unit}"


def compare(report: Report, title: str, ours: str, other: str, budgets: Mapping[str, float]) -> None:
    """One table of two subjects side by side."""
    rows = []
    for operation in OPERATIONS:
        mine, theirs = report.seconds(ours, operation), report.seconds(other, operation)
        ratio = mine / theirs if mine and theirs else None
        budget = budgets.get(operation)
        rows.append(
            (
                operation,
                shown(mine),
                shown(theirs),
                shown(ratio, ""),
                shown(budget, "") if budget else "-",
                shown(report.peak(ours, operation), " MB"),
                shown(report.peak(other, operation), " MB"),
            )
        )
    table(title, ("operation", ours, other, "ratio", "budget", "our peak", "their peak"), rows)


def growth(report: Report, sizes: Sequence[int]) -> None:
    """Seconds by size, and how they grow against n log n (1.00: just so, less: slower than that)."""
    rows = []
    for operation in OPERATIONS:
        times = [report.seconds(f"tickover in-process {n}", operation) for n in sizes]
        first, n0 = times[0], sizes[0]
        cells = []
        for n, seconds in zip(sizes, times, strict=True):
            expected = first * n * math.log(n) / (n0 * math.log(n0)) if first else None
            factor = f" ({seconds / expected:.2f})" if seconds and expected else ""
            cells.append(shown(seconds) + factor)
        rows.append((operation, *cells))
    table("Growth (in brackets: times n log n of the first size)", ("operation", *map(str, sizes)), rows)


def machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


def flags(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(SUITES), help="suites, by comma: " + ", ".join(SUITES))
    parser.add_argument("--dynamic", type=int, default=DYNAMIC, help="dynamic resources")
    parser.add_argument("--things", type=int, default=THINGS, help="resources against Terraform")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="sizes of the growth suite")
    parser.add_argument("--runs", type=int, default=1, help="runs of each suite; medians are shown")
    chosen = parser.parse_args(words)
    if unknown := set(chosen.only.split(",")) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    return chosen


def main(words: Sequence[str] | None = None) -> None:
    chosen = flags(words)
    suites, sizes = chosen.only.split(","), tuple(int(n) for n in chosen.sizes.split(","))
    report = Report()
    has_terraform = shutil.which("terraform") is not None
    for run in range(chosen.runs):
        with tempfile.TemporaryDirectory(prefix="bench-engine-") as temporary:
            folder = Path(temporary, str(run))
            if "dynamic" in suites:
                for engine in (OURS, *((REAL,) if cli_binary() else ())):
                    dynamic(report, folder / "dynamic", engine, chosen.dynamic)
            if "inprocess" in suites:
                inprocess(report, folder / "inprocess", chosen.things)
                if has_terraform:
                    terraform(report, folder / "inprocess", chosen.things)
            if "growth" in suites:
                for size in sizes:
                    inprocess(report, folder / "growth", size)
    if "dynamic" in suites:
        names = [f"{name} dynamic {chosen.dynamic}" for name in NAMES.values()]
        compare(report, f"{chosen.dynamic} dynamic resources", names[0], names[1], BUDGETS)
    if "inprocess" in suites:
        names = [f"tickover in-process {chosen.things}", f"terraform terraform_data {chosen.things}"]
        compare(report, f"{chosen.things} resources without a provider process", names[0], names[1], {})
    if "growth" in suites:
        growth(report, sizes)
    summary = {
        "seconds": {
            s: {o: round(report.seconds(s, o) or 0, 3) for o in ops} for s, ops in report.figures.items()
        },
        "peak_mb": {
            s: {o: round(report.peak(s, o) or 0, 1) for o in ops} for s, ops in report.figures.items()
        },
        "machine": machine(),
    }
    print("\n" + json.dumps(summary))


if __name__ == "__main__":
    main()

"""Runs test programs under the real Pulumi CLI and under ours, and compares step by step.

Owns: what a step does with an engine; the command line `python -m tests.support.matrix`. Promises: each
engine has its own folder, state and testbed cloud, and the same project name. Never: knows what is right.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support import matrix_case, state_files
from tests.support.matrix_case import OPERATIONS, SCRIPT, Case, Step
from tests.support.matrix_result import (
    StepResult,
    counts_of_ours,
    counts_of_real,
    difference,
    normalised,
    resource_difference,
)
from tests.support.matrix_roundtrip import round_trip, schema_errors
from tests.support.real_pulumi import ENGINES, OURS, REAL, STACK, Ran, Workspace, cli_binary

# Flags that are the same for both, by op.
_FLAGS: Final[dict[str, tuple[str, ...]]] = {
    "up": ("--yes", "--skip-preview"),
    "preview": (),
    "refresh": ("--yes", "--skip-preview"),
    "destroy": ("--yes", "--skip-preview"),
    "import": ("--yes", "--skip-preview", "--generate-code=false"),
}
_STATE_WITH_YES: Final = frozenset(
    {"delete", "unprotect", "protect", "rename", "move", "repair", "taint", "untaint"}
)


@dataclass(slots=True)
class Run:
    """One case under one engine."""

    case: Case
    engine: str
    space: Workspace

    @staticmethod
    def of(case: Case, engine: str, folder: Path) -> Run:
        """Ready to take the first step: stack and config are there."""
        space = Workspace(
            folder / engine,
            name=case.name,
            project=case.project,
            with_testbed=case.testbed,
            env=dict(case.env),
        )
        space.init(engine)
        space.write_config({key: _text(value) for key, value in case.config.items()})
        for key, value in case.secret_config.items():
            space.ok(engine, "config", "set", "-s", STACK, "--secret", "--", key, _text(value))
        return Run(case, engine, space)

    def take(self, number: int, step: Step) -> StepResult:
        """One step, and what the stack is after it."""
        if step.program is not None:
            self.space.use(self.case.folder / step.program)
        self.space.init(self.engine, step.stack)
        log = self.space.folder / f"events-{number}.jsonl"
        ran = self._script(step) if step.op == SCRIPT else self._command(step, log)
        exported = self._export(step) if self._exists(step) else {}
        resources, pending = normalised(exported.get("deployment") or {}, self.space.folder)
        counted = counts_of_ours if self.engine == OURS else counts_of_real
        said = _squeezed(ran.said)
        return StepResult(
            step=f"{number} {step.op} {step.program or ''} {' '.join(step.args)}".strip(),
            failed=ran.code != 0,
            resources=resources,
            pending=pending,
            counts=counted(log) if step.op in OPERATIONS and ran.code == 0 else None,
            told=ran.told(),
            missing=tuple(text for text in step.says if _squeezed(text) not in said),
            exported=exported,
            stack=step.stack,
        )

    def _file(self, step: Step) -> Path:
        return self.space.state / f".pulumi/stacks/{self.case.name}/{step.stack}.json"

    def _exists(self, step: Step) -> bool:
        return self._file(step).exists()

    def _export(self, step: Step) -> dict[str, Any]:
        """The stack after a step; after the last one the engine is asked for it, too."""
        read = state_files.exported(self._file(step), self.space.passphrase)
        if read is not None and step is not self.case.steps[-1]:
            return read
        told = self.space.export(self.engine, step.stack)
        if read is not None:
            both = [normalised(one["deployment"], self.space.folder) for one in (read, told)]
            told_apart = resource_difference(both[0][0], both[1][0])
            what = f"the state that {self.engine}'s file holds (+) is not what it exports (-):"
            assert both[0] == both[1], "\n".join((what, *told_apart))
        return told

    def _command(self, step: Step, log: Path) -> Ran:
        words = [step.op, *(self._filled(word) for word in step.args)]
        if step.op in OPERATIONS:
            words += ["-s", step.stack, *(() if "--preview-only" in words else _FLAGS[step.op])]
            words += ["--json-into" if self.engine == OURS else "--event-log", str(log)]
        elif step.op in ("state", "config"):
            words[2:2] = ["-s", step.stack]
            if step.op == "state" and step.args[0] in _STATE_WITH_YES:
                words.append("--yes")
        return self.space.run(self.engine, *words, timeout=step.timeout, env=self._env(step))

    def _script(self, step: Step) -> Ran:
        script, *rest = (self._filled(word) for word in step.args)
        env = self.space.environment() | self._env(step)
        words = [sys.executable, str(self.case.folder / script), *rest]
        started = time.monotonic()
        done = subprocess.run(
            words, cwd=self.space.root, env=env, capture_output=True, text=True, check=False
        )
        return Ran((script, *rest), done.returncode, done.stdout, done.stderr, time.monotonic() - started)

    def _env(self, step: Step) -> dict[str, str]:
        return {name: self._filled(value) for name, value in step.env.items()}

    def _filled(self, text: str) -> str:
        places = {
            "case": self.case.folder,
            "folder": self.space.folder,
            "project": self.space.root,
            "state": self.space.state,
            "world": self.space.world,
        }
        return re.sub(r"\{(\w+)\}", lambda found: str(places.get(found[1], found[0])), text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _squeezed(text: str) -> str:
    """Without colours, and with every run of white space as one blank: engines break lines differently."""
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))


def run_case(case: Case, engine: str, folder: Path) -> list[StepResult]:
    """All steps under one engine. Stops after a step whose exit is not the expected one."""
    run = Run.of(case, engine, folder)
    results: list[StepResult] = []
    for number, step in enumerate(case.steps, 1):
        if step.only not in ("", engine):
            continue
        result = run.take(number, step)
        results.append(result)
        if result.failed is not step.fails:
            break
    return results


def judge(case: Case, folder: Path, engines: tuple[str, ...] = ENGINES) -> list[str]:
    """What is wrong with a case, as lines for a person; empty if nothing. Both engines run side by side."""
    with ThreadPoolExecutor(len(engines)) as pool:
        work = {engine: pool.submit(run_case, case, engine, folder) for engine in engines}
    found: list[str] = []
    done: dict[str, list[StepResult]] = {}
    for engine, future in work.items():
        try:
            done[engine] = future.result()
        except (AssertionError, OSError) as error:
            found += [f"{engine}: {error}"]
    for engine, results in done.items():
        found += _unexpected(case, engine, results)
    if set(done) == set(ENGINES):
        before = len(case.steps) if not found else min(map(len, done.values())) - 1
        found += _compared(case, done[OURS][:before], done[REAL][:before])
        for engine, other in ((OURS, REAL), (REAL, OURS)):
            found += _exchanged(case, engine, other, done[engine], folder)
    return found


def _exchanged(case: Case, engine: str, other: str, results: list[StepResult], folder: Path) -> list[str]:
    """The case's largest state of one engine, imported and exported again by the other."""
    largest = max(results, key=lambda one: len(one.resources), default=None)
    if largest is None or len(largest.resources) < 2:
        return []
    found = schema_errors(largest.exported) if engine == OURS else []
    space = Workspace(folder / f"from-{engine}", name=case.name)
    try:
        found += round_trip(space, other, largest.stack, largest.exported)
    except AssertionError as error:
        found.append(str(error))
    return [f"the state of {engine} after step {largest.step}, imported by {other}:", *found] if found else []


def _unexpected(case: Case, engine: str, results: list[StepResult]) -> list[str]:
    steps = [step for step in case.steps if step.only in ("", engine)]
    for step, result in zip(steps, results, strict=False):
        if result.failed is not step.fails:
            wanted = "fail" if step.fails else "succeed"
            return [f"{engine}: step {result.step} should {wanted}:", result.told]
        if result.missing:
            return [
                f"{engine}: step {result.step} does not say {', '.join(map(repr, result.missing))}:",
                result.told,
            ]
    return []


def _compared(case: Case, ours: list[StepResult], real: list[StepResult]) -> list[str]:
    numbered = {f"{number}": step for number, step in enumerate(case.steps, 1)}
    theirs = {one.step: one for one in real}
    for mine in ours:
        if mine.step not in theirs:
            continue
        step = numbered[mine.step.split()[0]]
        lines = difference(mine, theirs[mine.step], {**case.differs, **step.differs})
        if lines:
            return [
                f"after step {mine.step}:",
                *lines,
                "ours said:",
                mine.told,
                "real said:",
                theirs[mine.step].told,
            ]
    return []


def main() -> int:
    """`python -m tests.support.matrix [CASE…] [--engine ours|real|both] [--keep DIR]`."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.matrix", description=__doc__)
    parser.add_argument("case", nargs="*", help="folder names in tests/programs; default: all")
    parser.add_argument("--engine", choices=(*ENGINES, "both"), default="both")
    parser.add_argument("--keep", type=Path, help="leave projects, states and event logs in this folder")
    parser.add_argument("--show", action="store_true", help="print what each step did, too")
    parser.add_argument(
        "--workers", type=int, default=1, help="cases at a time; each runs its engines side by side"
    )
    chosen = parser.parse_args()
    engines = ENGINES if chosen.engine == "both" else (chosen.engine,)
    if REAL in engines and not cli_binary():
        parser.error("set TICKOVER_PULUMI_CLI to a pulumi binary, or choose --engine ours")
    with tempfile.TemporaryDirectory(prefix="matrix-") as scratch:
        base = chosen.keep or Path(scratch)
        with ThreadPoolExecutor(chosen.workers) as pool:
            jobs = [
                (name, pool.submit(_one, name, base / name, engines, chosen.show))
                for name in chosen.case or matrix_case.names()
            ]
            failures = sum(_told(name, job.result()) for name, job in jobs)
    print(f"{len(jobs)} cases, {failures} with a difference")
    return 1 if failures else 0


def _one(name: str, folder: Path, engines: tuple[str, ...], is_shown: bool) -> tuple[list[str], float]:
    started = time.monotonic()
    try:
        case = matrix_case.load(name)
    except ValueError as error:
        return [str(error)], 0.0
    if is_shown and len(engines) == 1:
        for result in run_case(case, engines[0], folder):
            print(result.told, json.dumps(result.compared(), indent=1), sep="\n")
    found = judge(case, folder, engines) if not (is_shown and len(engines) == 1) else []
    return found, time.monotonic() - started


def _told(name: str, outcome: tuple[list[str], float]) -> bool:
    lines, seconds = outcome
    print(f"{'DIFFERENT' if lines else 'same'} {name} ({seconds:.1f} s)", *lines, sep="\n", flush=True)
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())

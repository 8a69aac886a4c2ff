"""The real Pulumi CLI and our own command, on one project folder and one state folder.

Owns: the tools folder (CLI, language host, dynamic provider), the environment of both engines, running them.
Promises: both see the same project, state, passphrase and PATH; nothing is read from or written to the
caller's home or Pulumi folders. Never: judges.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
SUPPORT: Final = ROOT / "tests/support"
TESTBED: Final = ROOT / "tests/providers/testbed"
PASSPHRASE: Final = "correct horse"
STACK: Final = "dev"
OURS: Final = "ours"
REAL: Final = "real"
ENGINES: Final = (OURS, REAL)
TIMEOUT: Final = 180.0
# Where these are set, the programs' own environment says so; nothing else of the caller's gets in.
_PASSED_ON: Final = ("LANG", "LC_ALL", "TMPDIR", "TERM")


def cli_binary() -> str:
    """The `pulumi` binary that TICKOVER_PULUMI_CLI names; empty if none."""
    return os.environ.get("TICKOVER_PULUMI_CLI", "")


def tickover_binary() -> Path:
    """Our command: TICKOVER_COMMAND, or that of the virtual environment that runs the tests."""
    if named := os.environ.get("TICKOVER_COMMAND"):
        return Path(named)
    beside = Path(sys.executable).with_name("tickover")
    return beside if beside.exists() else ROOT / ".venv/bin/tickover"


def make_tools(folder: Path) -> Path:
    """A PATH entry with the CLI, the language host and the dynamic provider, all with this Python."""
    folder.mkdir(parents=True, exist_ok=True)
    scripts = {
        "pulumi-language-python": f'exec "{sys.executable}" "{SUPPORT / "language_host.py"}" "$@"',
        "pulumi-resource-pulumi-python": f'exec "{sys.executable}" -u -m pulumi.dynamic "$@"',
    }
    for name, line in scripts.items():
        script = folder / name
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    if cli_binary():
        link = folder / "pulumi"
        link.unlink(missing_ok=True)
        # It looks beside itself for the others, past symbolic links: then it does not warn of those on PATH.
        try:
            link.hardlink_to(Path(cli_binary()).resolve())
        except OSError:
            link.symlink_to(Path(cli_binary()).resolve())
    return folder


@dataclass(frozen=True, slots=True)
class Ran:
    """One command and what came of it."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out + self.err

    def told(self) -> str:
        """For a failure message."""
        return f"$ {' '.join(self.words)} -> {self.code} ({self.seconds:.1f} s)\n{self.said}"


@dataclass(slots=True)
class Workspace:
    """A project folder, a state folder and both engines. env: added to what both see."""

    folder: Path
    name: str = "demo"
    project: Mapping[str, Any] = field(default_factory=dict)
    with_testbed: bool = False
    env: dict[str, str] = field(default_factory=dict)
    passphrase: str = PASSPHRASE
    _stacks: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(exist_ok=True)
        (self.folder / "home").mkdir(exist_ok=True)
        make_tools(self.folder / "tools")
        self.write_project()

    @property
    def root(self) -> Path:
        """The project folder: Pulumi.yaml and the program."""
        return self.folder / "project"

    @property
    def state(self) -> Path:
        """The file back end's folder."""
        return self.folder / "state"

    @property
    def world(self) -> Path:
        """The file that is the testbed provider's cloud."""
        return self.folder / "world.json"

    def write_project(self) -> None:
        """Pulumi.yaml, from what this was made with."""
        project: dict[str, Any] = {"name": self.name, "runtime": "python"}
        if self.with_testbed:
            project["plugins"] = {"providers": [{"name": "testbed", "path": str(TESTBED)}]}
        (self.root / "Pulumi.yaml").write_text(yaml.safe_dump(project | dict(self.project), sort_keys=False))

    def write_config(self, values: Mapping[str, str], stack: str = STACK) -> None:
        """Plain values, put into the stack's file beside what is there: quicker than a command for each."""
        file = self.root / str(self.project.get("stackConfigDir", "")) / f"Pulumi.{stack}.yaml"
        found = (yaml.safe_load(file.read_text()) if file.exists() else None) or {}
        full = {key if ":" in key else f"{self.name}:{key}": value for key, value in values.items()}
        if full:
            found["config"] = {**found.get("config", {}), **full}
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(yaml.safe_dump(found, sort_keys=False))

    def use(self, program: Path | str) -> None:
        """Make the project's files those of a folder, or its __main__.py this text. Pulumi*.yaml stay."""
        for old in self.root.iterdir():
            if old.name.startswith("Pulumi.") or old.name == self.project.get("stackConfigDir"):
                continue
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        if isinstance(program, str):
            (self.root / "__main__.py").write_text(program)
            return
        no_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(program, self.root, dirs_exist_ok=True, ignore=no_bytecode)

    def environment(self) -> dict[str, str]:
        """What both engines see; nothing of it is the caller's but its locale and its programs."""
        python_path = [str(TESTBED / "sdk")] if self.with_testbed else []
        path = (str(self.folder / "tools"), str(Path(sys.executable).parent), os.environ["PATH"])
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "PATH": os.pathsep.join(path),
            "HOME": str(self.folder / "home"),
            "PULUMI_HOME": str(self.folder / "pulumi-home"),
            "PULUMI_BACKEND_URL": f"file://{self.state}",
            "PULUMI_CONFIG_PASSPHRASE": self.passphrase,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DEBUG_COMMANDS": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(python_path),
            "TESTBED_WORLD": str(self.world),
            **self.env,
        }

    def command(self, engine: str, words: tuple[str, ...]) -> list[str]:
        """The command line of one engine."""
        if engine == OURS:
            return [str(tickover_binary()), *words]
        return [str(self.folder / "tools/pulumi"), "--non-interactive", *words]

    def run(
        self, engine: str, *words: str, timeout: float = TIMEOUT, env: Mapping[str, str] | None = None
    ) -> Ran:
        """Run it to its end, whatever that is."""
        started = time.monotonic()
        process = subprocess.Popen(
            self.command(engine, words),
            cwd=self.root,
            env=self.environment() | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            err += f"\n{engine} was killed after {timeout:.0f} s"
        name = "tickover" if engine == OURS else "pulumi"
        return Ran((name, *words), process.returncode, out, err, time.monotonic() - started)

    def ok(self, engine: str, *words: str, **more: Any) -> Ran:
        """Run it; it must succeed."""
        ran = self.run(engine, *words, **more)
        assert ran.code == 0, ran.told()
        return ran

    def fails(self, engine: str, *words: str, **more: Any) -> Ran:
        """Run it; it must not succeed."""
        ran = self.run(engine, *words, **more)
        assert ran.code != 0, ran.told()
        return ran

    def operate(
        self, engine: str, op: str, *words: str, stack: str = STACK, check: bool = True, **more: Any
    ) -> Ran:
        """up, preview, refresh or destroy without questions, the stack made first if it is missing."""
        self.init(engine, stack)
        quiet = () if op == "preview" else ("--yes", "--skip-preview")
        return (self.ok if check else self.run)(engine, op, "-s", stack, *quiet, *words, **more)

    def init(self, engine: str, stack: str = STACK) -> None:
        """Make the stack, once."""
        if stack not in self._stacks:
            self.ok(engine, "stack", "init", stack)
            self._stacks.add(stack)

    def export(self, engine: str, stack: str = STACK) -> dict[str, Any]:
        """`stack export --show-secrets`, read."""
        loaded = json.loads(self.ok(engine, "stack", "export", "-s", stack, "--show-secrets").out)
        assert isinstance(loaded, dict)
        return loaded

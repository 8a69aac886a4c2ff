"""A small project in a temporary folder, and the command line run in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tickover import cli


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """Runs `tickover …` in this process, in a project with the stacks dev and prod."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.root, self._capsys = root, capsys
        (root / "stacks").mkdir(parents=True)
        (root / "Pulumi.yaml").write_text(
            "name: demo\nruntime: python\nstackConfigDir: stacks\nbackend: {url: 'file://.tickover/state'}\n"
        )
        for stack in ("dev", "prod"):
            (root / f"stacks/Pulumi.{stack}.yaml").write_text(f"config:\n  demo:name: {stack}\n")
        for name in ("PULUMI_STACK", "PULUMI_HOME", "PULUMI_BACKEND_URL", "TICKOVER_HOME", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "correct horse")
        monkeypatch.chdir(root)

    def __call__(self, *words: str) -> Ended:
        self._capsys.readouterr()
        code = cli.main(list(words))
        out, err = self._capsys.readouterr()
        return Ended(code, out, err)

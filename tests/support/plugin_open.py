"""A `Plugins` over a folder of the test's own, and what the plugins said.

Owns: the environment that a plugin is opened in. Promises: nothing of the machine's own PATH or cache is
found; all processes are gone after the with block. Never: asserts.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.plugin_judge import judge
from tickover.engine.packages import PackageSpec
from tickover.engine.plugins.client import PluginProvider
from tickover.engine.plugins.source import Plugins
from tickover.engine.project import PluginPath
from tickover.engine.provider import ConfigureRequest, Severity

PROVIDER_URN = "urn:pulumi:dev::p::pulumi:providers:judge::default"
URN = "urn:pulumi:dev::p::judge:index:Thing::one"


@dataclass
class Said:
    """What reached the log."""

    lines: list[tuple[Severity, str, str, bool]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, severity: Severity, urn: str, message: str, *, ephemeral: bool = False) -> None:
        self.lines.append((severity, urn, message, ephemeral))
        self._news.set()

    async def until(self, text: str) -> None:
        """Wait for a message that holds text."""
        while not any(text in message for _, _, message, _ in self.lines):
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 30)

    def messages(self, severity: Severity) -> list[str]:
        return [message for level, _, message, _ in self.lines if level is severity]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The least a plugin needs, and more."""
    keep = {key: os.environ[key] for key in ("LANG", "LD_LIBRARY_PATH") if key in os.environ}
    base = {
        "PATH": str(folder / "path"),
        "HOME": str(folder),
        "PULUMI_HOME": str(folder / "home"),
        "JUDGE_RECORD": str(folder / "record.jsonl"),
    }
    return keep | base | more


def plugins(
    folder: Path,
    environ: Mapping[str, str],
    *named: tuple[str, Path],
    port_seconds: float = 30.0,
    **more: Any,
) -> Plugins:
    """The source of plugins of a project in folder that names these."""
    paths = [PluginPath("providers", name, path) for name, path in named]
    return Plugins(folder, paths, environ, Path(sys.executable), port_seconds=port_seconds, **more)


@asynccontextmanager
async def opened(
    folder: Path, accepts: str = "", *, configured: bool = True, said: Said | None = None
) -> AsyncIterator[PluginProvider]:
    """The judge, running, and configured with a secret."""
    judge(folder / "bin")
    source = plugins(folder, environment(folder, JUDGE_ACCEPTS=accepts), ("judge", folder / "bin"))
    try:
        provider = await source.open(PackageSpec("judge"), said if said is not None else Said())
        if configured:
            await provider.configure(ConfigureRequest({"region": "here"}, PROVIDER_URN, "id-1"))
        yield provider
    finally:
        await source.close()

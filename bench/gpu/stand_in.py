"""A rehearsal without a GPU: a host with a simulated card, and tiny servers in place of vLLM.

Owns: the stand-ins of the bench. Promises: the host, its front door, the ledger and the ladder are the real
ones; whatever is measured here is called a stand-in's. Never: used where figures are wanted.

Run as a program: ``python -m bench.gpu.stand_in HOME`` serves until it is told to stop.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from tests.support.host_gpu_machine import Machine
from tickover.host import main as host_main
from tickover.host.daemon import HostInfo, host_status
from tickover.host.gpu.ledger import Rules
from tickover.host.gpu.simulated import SimulatedCheckpointer
from tickover.host.pool import ReservedPool
from tickover.host.runtimes.process import ProcessRuntime
from tickover.host.server import HostPool, HostSettings, PoolNeeds
from tickover.paths import host_dir

_T = TypeVar("_T")

ROOT: Final = Path(__file__).resolve().parents[2]
SERVER: Final = ROOT / "tests/support/host_tiny_server.py"
START_SECONDS: Final = 20.0
# As long as on a real card, so that what happens at the same time there does so here.
STEP_SECONDS: Final = 0.4
DRIVER_SECONDS: Final = {"checkpoint": 1.6, "restore": 1.7}


class SlowCheckpointer(SimulatedCheckpointer):
    """Takes its time."""

    async def _do(self, verb: str, pid: int, call: Callable[[], _T]) -> _T:
        await asyncio.sleep(DRIVER_SECONDS.get(verb, 0.0))
        return await super()._do(verb, pid, call)


def machine(home: Path) -> Machine:
    """The simulated card of a host."""
    folder = host_dir(home)
    folder.mkdir(parents=True, exist_ok=True)
    return Machine(folder, rules=Rules())


def words(home: Path, share: float) -> list[str]:
    """A server's, after the interpreter."""
    given = machine(home).arguments(awake_gib=round(80 * share))
    return [str(SERVER), "--port", "${port}", "--step-seconds", f"{STEP_SECONDS:g}", *given]


def start(home: Path) -> HostInfo:
    """A host with a simulated card, in the background."""
    command = [sys.executable, "-m", "bench.gpu.stand_in", str(home)]
    with (host_dir(home) / "host.log").open("ab") as log:
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    end = time.monotonic() + START_SECONDS
    while (info := host_status(home)) is None:
        if time.monotonic() > end:
            sys.exit(f"the stand-in host did not start; see {log.name}")
        time.sleep(0.05)
    return info


def _make_pool(needs: PoolNeeds) -> HostPool:
    simulated = machine(needs.data_dir.parent)
    gpus = replace(simulated.gpus(), checkpointer=SlowCheckpointer(simulated.driver))
    runtimes = (ProcessRuntime(),)
    return ReservedPool(
        needs.registry, needs.db_path, needs.data_dir, needs.nas, runtimes=runtimes, gpus=gpus
    )


def main() -> None:
    host_main.configure_log()
    host_main.pool_maker = lambda: _make_pool
    host_main.run_host(HostSettings(Path(sys.argv[1]), port=0), lambda facts: None)


if __name__ == "__main__":
    main()

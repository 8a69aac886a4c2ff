"""What happens to a pool while its sessions go on: kills, deploys, instances that come and go.

Owns: when each happens and doing it. Promises: each kind comes to every function in turn, spread over the
run; only processes of the bench's own host are killed, each by its id. Never: asks, judges.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from bench.hosted import BenchHost

LINGER_SECONDS: Final = 0.3
VARIABLES: Final[Mapping[str, str]] = {"TICKOVER_LINGER_SECONDS": f"{LINGER_SECONDS:g}"}
SETTLED_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.05


class Trouble(Enum):
    KILL = "instances_killed"
    DEPLOY = "deploys"
    GROW = "instances_added"
    SHRINK = "instances_removed"


def schedule(cycles: int, functions: tuple[str, ...]) -> list[tuple[Trouble, str]]:
    """In each cycle every function has one trouble; over as many cycles as there are kinds, each kind. What
    has grown shrinks in the next cycle."""
    kinds = tuple(Trouble)
    return [
        (kinds[(cycle + place) % len(kinds)], name)
        for cycle in range(cycles)
        for place, name in enumerate(functions)
    ]


@dataclass(slots=True)
class Troublemaker:
    """Acts on one host, in a thread beside the callers. done_share: how much of the run is over, 0 to 1."""

    host: BenchHost
    instances: int
    done_share: Callable[[], float]
    counts: dict[str, int] = field(default_factory=lambda: {kind.value: 0 for kind in Trouble})
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self, plan: list[tuple[Trouble, str]]) -> None:
        acts: Mapping[Trouble, Callable[[str], None]] = {
            Trouble.KILL: self._kill,
            Trouble.DEPLOY: self._deploy,
            Trouble.GROW: lambda name: self.host.reserve(name, self.instances + 1, idles=True),
            Trouble.SHRINK: lambda name: self.host.reserve(name, self.instances, idles=True),
        }
        for place, (kind, name) in enumerate(plan, start=1):
            while self.done_share() < place / (len(plan) + 1):
                if self.is_over.wait(_LOOK_SECONDS):
                    return
            self._settled(name)
            acts[kind](name)
            self.counts[kind.value] += 1

    def _kill(self, name: str) -> None:
        living = self.host.living(name)
        busy = [found for found in living if found["state"] == "busy"] or living
        os.kill(int(busy[0]["pid"]), signal.SIGKILL)

    def _deploy(self, name: str) -> None:
        self.host.deploy(name, {**VARIABLES, "RELEASE": str(self.counts[Trouble.DEPLOY.value])})

    def _settled(self, name: str) -> None:
        """After the trouble before: as many as there were up again, so that no function is left without."""
        end = time.monotonic() + SETTLED_SECONDS
        while len(self.host.living(name)) < self.instances and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)

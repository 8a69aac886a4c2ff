"""What disturbs the requests: deploys, kills of the host and of instances.

Owns: when each happens and doing it. Promises: an even spread over the run, in an order that a seed fixes;
only processes of the bench's own host are killed, each by its id. Never: asks, counts.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from enum import Enum

from bench.hosted import BenchHost
from bench.loss.count import Kill, Window


class Trouble(Enum):
    DEPLOY = "deploy"
    HOST_KILL = "host_kill"
    INSTANCE_KILL = "instance_kill"


def schedule(each: int, seconds: float, seed: int) -> list[tuple[float, Trouble]]:
    """So many of each kind, at even distances within the run."""
    kinds = [kind for kind in Trouble for _ in range(each)]
    random.Random(seed).shuffle(kinds)
    step = seconds / (len(kinds) + 1)
    return [(step * (place + 1), kind) for place, kind in enumerate(kinds)]


@dataclass(slots=True)
class Troublemaker:
    """Acts on one host, in a thread beside the requests. began: of the run, on the monotonic clock."""

    host: BenchHost
    functions: tuple[str, ...]
    began: float
    seed: int
    host_kills: list[Window] = field(default_factory=list)
    instance_kills: list[Kill] = field(default_factory=list)
    deploys: int = 0
    late_seconds: float = 0.0
    down_seconds: float = 0.0

    def run(self, when: list[tuple[float, Trouble]]) -> None:
        dice = random.Random(self.seed)
        acts = {
            Trouble.DEPLOY: self._deploy,
            Trouble.HOST_KILL: self._kill_host,
            Trouble.INSTANCE_KILL: self._kill_instance,
        }
        for at, kind in when:
            wait = self.began + at - time.monotonic()
            time.sleep(max(0.0, wait))
            self.late_seconds = max(self.late_seconds, -wait)
            acts[kind](dice.choice(self.functions))

    def _deploy(self, function: str) -> None:
        self.deploys += 1
        self.host.deploy(function, {**VARIABLES, "RELEASE": str(self.deploys)})

    def _kill_host(self, function: str) -> None:
        began = time.monotonic() - self.began
        self.host.kill()
        self.host_kills.append(Window(began, time.monotonic() - self.began))
        self.host.start()
        self.down_seconds = max(self.down_seconds, time.monotonic() - self.began - began)

    def _kill_instance(self, function: str) -> None:
        living = self.host.living(function)
        busy = [i for i in living if i["state"] == "busy"] or living
        if not busy:
            return
        pid = int(busy[0]["pid"])
        self.instance_kills.append(Kill(pid, function, time.monotonic() - self.began))
        os.kill(pid, signal.SIGKILL)


# A short linger, so that every pause between two bursts is an idle period.
VARIABLES = {"TICKOVER_LINGER_SECONDS": "0.05"}

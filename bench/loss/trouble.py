"""What disturbs the requests: deploys, new hosts, kills of the host, of its successor and of instances.

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
    UPGRADE = "upgrade"
    SUCCESSOR_KILL = "successor_kill"
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
    successor_kills: list[Window] = field(default_factory=list)
    instance_kills: list[Kill] = field(default_factory=list)
    deploys: int = 0
    upgrades: int = 0
    undone: int = 0  # successor kills after which the former host went on
    late_seconds: float = 0.0
    down_seconds: float = 0.0
    take_over_seconds: float = 1.0  # as the last one took

    def run(self, when: list[tuple[float, Trouble]]) -> None:
        dice = random.Random(self.seed)
        acts = {
            Trouble.DEPLOY: self._deploy,
            Trouble.UPGRADE: self._upgrade,
            Trouble.SUCCESSOR_KILL: self._kill_successor,
            Trouble.HOST_KILL: self._kill_host,
            Trouble.INSTANCE_KILL: self._kill_instance,
        }
        for at, kind in when:
            wait = self.began + at - time.monotonic()
            time.sleep(max(0.0, wait))
            self.late_seconds = max(self.late_seconds, -wait)
            acts[kind](dice.choice(self.functions), dice.random())

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _deploy(self, function: str, _: float) -> None:
        self.deploys += 1
        self.host.deploy(function, {**VARIABLES, "RELEASE": str(self.deploys)})

    def _upgrade(self, _: str, __: float) -> None:
        began = self._now()
        self.host.upgrade()
        self.take_over_seconds = self._now() - began
        self.upgrades += 1

    def _kill_successor(self, _: str, chance: float) -> None:
        """In the last moments before it would serve: those of the hand-over itself."""
        began = self._now()
        seconds = self.take_over_seconds * (1.02 - 0.2 * chance)
        is_down = self.host.break_upgrade(seconds)
        self.successor_kills.append(Window(began + seconds, self._now()))
        if is_down:
            self._come_back(began + seconds)
        else:
            self.undone += 1

    def _kill_host(self, _: str, __: float) -> None:
        began = self._now()
        self.host.kill()
        self.host_kills.append(Window(began, self._now()))
        self._come_back(began)

    def _come_back(self, since: float) -> None:
        self.host.start()
        self.down_seconds = max(self.down_seconds, self._now() - since)

    def _kill_instance(self, function: str, _: float) -> None:
        living = self.host.living(function)
        busy = [i for i in living if i["state"] == "busy"] or living
        if not busy:
            return
        pid = int(busy[0]["pid"])
        self.instance_kills.append(Kill(pid, function, self._now()))
        os.kill(pid, signal.SIGKILL)


# A short linger, so that every pause between two bursts is an idle period.
VARIABLES = {"TICKOVER_LINGER_SECONDS": "0.05"}

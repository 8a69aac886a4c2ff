"""The stages of the measurement: cycles of going idle and waking, swaps, requests at any moment.

Owns: what is done in which order in each stage, and one row for each cycle. Promises: a row is written as
soon as it is known; a request that is lost, a token that differs and a rung that was not reached are in the
rows, never repeated until they fit; each stage ends by its own number or by the run's deadline. Never: sums
up (`figures` does).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bench.gpu.asking import Answer, ask
from bench.gpu.declare import START_SECONDS
from bench.gpu.steps import Steps
from bench.gpu.watching import Watch, available_mib, members, rss_mib
from tickover.host.client import AdminClient

ASLEEP: Final = "sleep"
CHECKPOINTED: Final = "checkpoint"
RESTED_SECONDS: Final = 1.1  # nobody is evicted within a second of its wake
POLL_SECONDS: Final = 0.02
START_POLL_SECONDS: Final = 0.1
UP: Final = ("ready", "busy", "idle", "suspending")
RUNG_SECONDS: Final = 90.0
WARM_REQUESTS: Final = 20

Row = dict[str, Any]


class OutOfTime(Exception):
    """The run's deadline has come."""


@dataclass(slots=True)
class Served:
    """A function that is up. reference: what it answered awake, after its warm-up."""

    name: str
    model: str
    url: str
    instance_id: str = ""
    pid: int | None = None
    reference: Answer = field(default_factory=Answer)


@dataclass(slots=True)
class Run:
    """A run: the host that is asked, where rows go, and when it has to end (monotonic seconds)."""

    admin: AdminClient
    watch: Watch
    steps: Steps
    write: Callable[[str, Row], None]
    deadline: float
    tokens: int = 24
    sent: int = 0
    lost: list[str] = field(default_factory=list)

    # -- asking ----------------------------------------------------------------------------------------

    def ask(self, served: Served, tokens: int | None = None) -> Answer:
        if time.monotonic() > self.deadline:
            raise OutOfTime
        answer = ask(served.url, served.model, tokens or self.tokens)
        self.sent += 1
        if answer.lost:
            self.lost.append(f"{served.name}: {answer.lost}")
        return answer

    def instance(self, name: str) -> dict[str, Any]:
        """The living instance of a function; empty if it has none."""
        found = [i for i in self.admin.instances(name) if i["state"] not in ("stopped", "failed")]
        return found[0] if found else {}

    def until(
        self,
        name: str,
        what: Callable[[dict[str, Any]], bool],
        seconds: float,
        pause: float = POLL_SECONDS,
    ) -> dict[str, Any]:
        """Its instance once it is as wanted; at the end of the time whatever it is. Raises OutOfTime."""
        end = time.monotonic() + seconds
        while not what(found := self.instance(name)) and time.monotonic() < end:
            if time.monotonic() > self.deadline:
                raise OutOfTime
            time.sleep(pause)
        return found

    def until_rung(self, served: Served, rung: str) -> bool:
        """Whether it got there."""

        def is_there(found: dict[str, Any]) -> bool:
            return found.get("state") == "idle" and found.get("rung") == rung

        return is_there(self.until(served.name, is_there, RUNG_SECONDS))

    # -- stages ----------------------------------------------------------------------------------------

    def start(self, stage: str, served: Served, trouble: Callable[[], str]) -> bool:
        """Until its first instance is up and its answers repeat; False if that fails."""
        began = time.monotonic()
        said = ""

        def is_decided(found: dict[str, Any]) -> bool:
            nonlocal said
            said = "" if found.get("state") in UP else trouble()
            return found.get("state") in UP or bool(said)

        found = self.until(served.name, is_decided, START_SECONDS + 60.0, START_POLL_SECONDS)
        took = time.monotonic() - began
        row: Row = {"function": served.name, "start_seconds": took, "state": found.get("state", "none")}
        if found.get("state") not in UP:
            self.write(stage, {**row, "trouble": said[-2000:]})
            return False
        served.instance_id, served.pid = found["instance_id"], found.get("pid")
        # The very first answers of an engine differ in their last digits, before any sleep.
        answers = [self.ask(served) for _ in range(4)]
        served.reference = answers[-1]
        repeats = answers[-1].tokens == answers[-2].tokens and answers[-1].logprobs == answers[-2].logprobs
        warm = [self.ask(served, 1) for _ in range(WARM_REQUESTS)]
        row |= {"does_repeat": repeats, "tokens": list(served.reference.tokens), **self._memory(served)}
        row["warm_ms"] = [_milliseconds(answer.token_seconds) for answer in warm]
        self.write(stage, row)
        return True

    def cycles(self, stage: str, served: Served, rung: str, count: int) -> None:
        """So often: idle down to a rung, then a request that wakes it. Given up when that fails twice."""
        failures = 0
        self.steps.taken()
        for number in range(count):
            row: Row = {"cycle": number, "is_reached": self.until_rung(served, rung)}
            row["idle_card_mib"] = self.watch.card_mib()
            row["idle_computing"] = self._listed(served)
            answer = self.ask(served)
            row |= self._judged(served, answer) | self._memory(served)
            row |= {f"{name}_ms": seconds * 1000 for name, seconds in self.steps.taken().items()}
            self.write(stage, row)
            failures += bool(answer.lost) or not row["is_reached"]
            if failures > 1:
                return

    def swaps(self, stage: str, pair: tuple[Served, Served], rung: str, count: int) -> None:
        """The two take turns: one is awake and rested, the other one, on its rung, is asked.

        One round is one wake of the second and one of the first.
        """
        awake, other = pair
        failures = 0
        self.ask(awake, 1)
        for number in range(2 * count):
            self._stay_awake(awake, other, rung)
            found = self.instance(other.name)
            row: Row = {
                "cycle": number,
                "from": awake.name,
                "to": other.name,
                "is_reached": found.get("rung") == rung and found.get("state") == "idle",
                "rung": found.get("rung"),
                "is_other_awake": self.instance(awake.name).get("state") in ("ready", "busy"),
            }
            answer = self.ask(other)
            row |= self._judged(other, answer) | self._memory(other)
            self.write(stage, row)
            failures += bool(answer.lost) or not row["is_reached"]
            if failures > 1:
                return
            awake, other = other, awake

    def at_any_moment(self, stage: str, served: Served, count: int, longest_seconds: float) -> None:
        """Requests after pauses of any length: many meet the instance on its way down or up."""
        draw = random.Random(11)
        for number in range(count):
            pause = draw.uniform(0.0, longest_seconds)
            time.sleep(pause)
            row: Row = {"cycle": number, "pause_seconds": pause}
            found = self.instance(served.name)
            row |= {"state": found.get("state"), "rung": found.get("rung")}
            self.write(stage, row | self._judged(served, self.ask(served)))

    # -- inside ----------------------------------------------------------------------------------------

    def _stay_awake(self, awake: Served, other: Served, rung: str) -> None:
        """Small requests until it has rested and the other one is on its rung."""
        end, limit = time.monotonic() + RESTED_SECONDS, time.monotonic() + RUNG_SECONDS
        while time.monotonic() < limit:
            self.ask(awake, 1)
            found = self.instance(other.name)
            is_down = found.get("state") == "idle" and found.get("rung") == rung
            if is_down and time.monotonic() >= end:
                return
            time.sleep(0.1)

    def _judged(self, served: Served, answer: Answer) -> Row:
        is_told = not answer.lost and bool(served.reference.tokens)
        return {
            "request_to_first_byte_ms": _milliseconds(answer.head_seconds),
            "request_to_first_token_ms": _milliseconds(answer.token_seconds),
            "total_ms": _milliseconds(answer.total_seconds),
            "waited_ms": answer.waited_ms,
            "has_woken": answer.has_woken,
            "is_same_instance": answer.instance_id == served.instance_id,
            "tokens_equal": answer.tokens == served.reference.tokens if is_told else None,
            "logprobs_equal": answer.logprobs == served.reference.logprobs if is_told else None,
            "tokens": list(answer.tokens),
            "logprobs": list(answer.logprobs),
            "lost": answer.lost,
        }

    def _memory(self, served: Served) -> Row:
        pids = members(served.instance_id, served.pid)
        return {
            "card_mib": self.watch.card_mib(),
            "rss_mib": rss_mib(pids),
            "processes": len(pids),
            "available_mib": available_mib(),
        }

    def _listed(self, served: Served) -> int | None:
        """How many of its processes NVML sees on the card."""
        computing = self.watch.computing()
        if computing is None:
            return None
        return len(set(computing) & set(members(served.instance_id, served.pid)))


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000

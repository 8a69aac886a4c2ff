"""What became of the requests: counted from their outcomes, the deliveries and the disturbances.

Owns: the meaning of lost, duplicate and counted apart. Promises: pure; each request is in exactly one of the
counts. Never: excuses a request whose loss it cannot lay to a kill of the host.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tickover.host.open_requests import KILLED

NOTICED_SECONDS: Final = 0.1  # until the host has surely seen that a process is gone


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request. sent, ended: seconds of the run. error: empty if it was answered whole and rightly.

    sent is the moment at which the last connection for it was asked for: a connection that is refused has
    carried nothing, and another is made. first_byte: a byte of the function's own answer was seen.
    """

    request: str
    is_streamed: bool
    burst: int
    function: str
    sent: float
    ended: float
    error: str = ""
    first_byte: bool = False
    woke: bool = False
    fc_request: str = ""
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """From a kill of the host until its process is gone; who connects later is with its successor."""

    began: float
    ended: float

    def has_in_flight(self, outcome: Outcome) -> bool:
        return outcome.sent <= self.ended and outcome.ended >= self.began


@dataclass(frozen=True, slots=True)
class Kill:
    """Of an instance of a function."""

    pid: int
    function: str
    at: float

    def touches(self, outcome: Outcome) -> bool:
        """Whether the request may have been on its way to the instance."""
        same = outcome.function == self.function
        return same and outcome.sent <= self.at + NOTICED_SECONDS and outcome.ended >= self.at


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the run has seen. delivered: request → the processes that wrote it down, in order.

    successor_kills: of a host that had just begun to take over. reasons: request id → why it was cut, as
    the access log says.
    """

    outcomes: Sequence[Outcome]
    delivered: Mapping[str, Sequence[int]]
    host_kills: Sequence[Window]
    successor_kills: Sequence[Window]
    instance_kills: Sequence[Kill]
    reasons: Mapping[str, str]

    @property
    def killed(self) -> frozenset[int]:
        return frozenset(kill.pid for kill in self.instance_kills)


def counts(evidence: Evidence) -> dict[str, Any]:
    """The report's counts."""
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    apart: Counter[str] = Counter()
    handing: Counter[str] = Counter()
    untold: Counter[str] = Counter()
    unexplained: list[str] = []
    for outcome in evidence.outcomes:
        if not outcome.error:
            continue
        place = "after its first byte" if outcome.first_byte else "before its first byte"
        if any(window.has_in_flight(outcome) for window in evidence.host_kills):
            apart[place] += 1
            untold[place] += outcome.first_byte and not evidence.reasons.get(outcome.fc_request)
            continue
        if any(window.has_in_flight(outcome) for window in evidence.successor_kills):
            handing[place] += 1
            untold[place] += outcome.first_byte and not evidence.reasons.get(outcome.fc_request)
            continue
        cause = _cause(outcome, evidence)
        if not outcome.first_byte:
            before[cause] += 1
            continue
        after[cause] += 1
        if not evidence.reasons.get(outcome.fc_request):
            unexplained.append(outcome.request)
    answered = [outcome for outcome in evidence.outcomes if not outcome.error]
    return {
        "requests": len(evidence.outcomes),
        "streamed": sum(outcome.is_streamed for outcome in evidence.outcomes),
        "answered": len(answered),
        "lost_before_first_byte": before.total(),
        "lost_before_first_byte_by_cause": dict(before),
        "lost_after_first_byte": after.total(),
        "lost_after_first_byte_by_cause": dict(after),
        "lost_after_first_byte_without_reason_in_log": len(unexplained),
        "in_flight_at_host_kills": {
            "failed": apart.total(),
            **apart,
        },
        "in_flight_at_successor_kills": {"failed": handing.total(), **handing},
        # Of those whose id the caller has seen: the others have a line, but nobody knows which.
        "in_flight_at_kills_without_reason_in_log": untold.total(),
        "told_as_open_at_a_kill": sum(reason == KILLED for reason in evidence.reasons.values()),
        **_deliveries(evidence, answered),
        "wakes": len({outcome.burst for outcome in evidence.outcomes if outcome.woke}),
        "host_kills": len(evidence.host_kills),
        "successor_kills": len(evidence.successor_kills),
        "instance_kills": len(evidence.instance_kills),
    }


def _cause(outcome: Outcome, evidence: Evidence) -> str:
    """Killed instance, if it was last with one or may have been on its way there; else what was seen."""
    processes = evidence.delivered.get(outcome.request, ())
    if processes and processes[-1] in evidence.killed:
        return f"instance killed: {outcome.error}"
    if not processes and any(kill.touches(outcome) for kill in evidence.instance_kills):
        return f"instance killed before it read: {outcome.error}"
    return outcome.error


def _deliveries(evidence: Evidence, answered: Iterable[Outcome]) -> dict[str, int]:
    twice = [processes for processes in evidence.delivered.values() if len(processes) > 1]
    # One sent again since the instance that had it was killed is a retry that the caller did not ask for.
    again = sum(all(pid in evidence.killed for pid in processes[:-1]) for processes in twice)
    absent = sum(outcome.request not in evidence.delivered for outcome in answered)
    return {
        "duplicates_upstream": len(twice) - again,
        "delivered_again_after_instance_kill": again,
        "answered_but_not_delivered": absent,
    }


def read_deliveries(text: str) -> dict[str, list[int]]:
    """The servers' file."""
    found: dict[str, list[int]] = {}
    for line in text.splitlines():
        request, _, pid = line.partition(" ")
        found.setdefault(request, []).append(int(pid))
    return found


def read_reasons(text: str) -> dict[str, str]:
    """The access log: request id → why its exchange was cut. One that is whole has no reason."""
    lines = (json.loads(line) for line in text.splitlines())
    return {line["request_id"]: line["reason"] for line in lines if line.get("reason")}

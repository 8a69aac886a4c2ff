"""From measured cycles to the figures of a report.

Owns: percentiles, summaries and the rows of the table. Promises: pure; a percentile is a value that was
measured (nearest rank), never one between two; nothing is left out because it is bad. Never: measures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Row = Mapping[str, Any]

GROWN_CYCLES: Final = 10  # fewer do not tell growth from noise
_TIMES: Final = ("request_to_first_token_ms", "request_to_first_byte_ms", "waited_ms")
_MEMORY: Final = {"idle": "idle_card_mib", "awake": "card_mib"}


@dataclass(frozen=True, slots=True)
class Summary:
    """Nearest-rank percentiles of n values."""

    n: int
    p50: float
    p95: float
    worst: float
    least: float


def nearest_rank(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values have no percentile")
    if not 0 < percent <= 100:
        raise ValueError(f"a percentile is above 0 and at most 100, not {percent}")
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def summary(values: Sequence[float]) -> Summary:
    return Summary(len(values), nearest_rank(values, 50), nearest_rank(values, 95), max(values), min(values))


def growth(values: Sequence[float], skipped: int = 2) -> float:
    """What is added from the first cycles to the last ones: the median of each tenth, but three at least.

    skipped: cycles at the start in which caches still fill.
    """
    steady = values[skipped:]
    part = max(3, len(steady) // 10)
    if len(steady) < 2 * part:
        raise ValueError(f"{len(values)} values are too few to tell growth from noise")
    return nearest_rank(steady[-part:], 50) - nearest_rank(steady[:part], 50)


def column(rows: Iterable[Row], name: str) -> list[float]:
    """The values of a column; rows that have none, or None, are passed over."""
    return [float(row[name]) for row in rows if row.get(name) is not None]


def share(rows: Sequence[Row], name: str) -> str:
    """How many of the rows that tell are true: "29/30"."""
    told = [bool(row[name]) for row in rows if row.get(name) is not None]
    return f"{sum(told)}/{len(told)}"


def by_size(rows: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Any]]:
    """What a report says, by the model's size and the stage: rows come under names such as "8B sleep"."""
    told: dict[str, dict[str, Any]] = {}
    for name, of_it in rows.items():
        size, _, rest = name.partition(" ")
        told.setdefault(size, {})[rest] = stage(of_it)
    return told


def stage(rows: Sequence[Row]) -> dict[str, Any]:
    """What a report says of one stage: only what was measured in it.

    stages_ms: summaries of what took time, requests as well as steps of the ladder. vram_mib: the whole
    card's reading. is_reached, has_woken, tokens_equal, logprobs_equal: "29/30". growth: from the first
    cycles to the last, MiB.
    """
    steps = dict.fromkeys(name for row in rows for name in row if name.endswith(("_down_ms", "_up_ms")))
    times = {name.removesuffix("_ms"): column(rows, name) for name in (*_TIMES, *steps)}
    memory = {told: column(rows, name) for told, name in _MEMORY.items()}
    grown = {name: column(rows, name) for name in (*_MEMORY.values(), "rss_mib", "available_mib")}
    told: dict[str, Any] = {
        "cycles": len(rows),
        "stages_ms": {name: told_summary(values) for name, values in times.items() if values},
        "vram_mib": {name: told_summary(values) for name, values in memory.items() if values},
        "growth": {name: round(growth(v), 1) for name, v in grown.items() if len(v) >= GROWN_CYCLES},
    }
    if rss := column(rows, "rss_mib"):
        told["rss_mib"] = told_summary(rss)
    for name in ("is_reached", "has_woken", "tokens_equal", "logprobs_equal"):
        if any(row.get(name) is not None for row in rows):
            told[name] = share(rows, name)
    return told


def told_summary(values: Sequence[float]) -> dict[str, float]:
    """{"n", "p50", "p95", "max", "min"}."""
    found = summary(values)
    told = {"p50": found.p50, "p95": found.p95, "max": found.worst, "min": found.least}
    return {"n": found.n, **{name: round(value, 3) for name, value in told.items()}}


def table(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The rows of a Markdown table of what `by_size` told."""
    lines = ["| model | stage | what | n | p50 | p95 | max |", "|---|---|---|---|---|---|---|"]
    for size, stages in models.items():
        for name, told in stages.items():
            lead = f"| {size} | {name} "
            for what, found in told["stages_ms"].items():
                lines.append(f"{lead}| {what.replace('_', ' ')}, ms | {_figures(found, 1)} |")
            for what, found in told["vram_mib"].items():
                lines.append(f"{lead}| card {what}, MiB | {_figures(found, 0)} |")
            if "tokens_equal" in told:
                same = f"tokens equal {told['tokens_equal']}, logprobs {told.get('logprobs_equal', '-')}"
                lines.append(f"{lead}| {same}; growth {json.dumps(told['growth'])} | | | | |")
    return lines


def _figures(found: Mapping[str, float], digits: int) -> str:
    return " | ".join([f"{found['n']}", *(f"{found[key]:.{digits}f}" for key in ("p50", "p95", "max"))])

"""From measured cycles to the figures of a report.

Owns: percentiles, summaries and the rows of the table. Promises: pure; a percentile is a value that was
measured (nearest rank), never one between two; nothing is left out because it is bad. Never: measures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Row = Mapping[str, Any]


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


def stage(rows: Sequence[Row], columns: Sequence[str]) -> dict[str, Any]:
    """What a report says of one stage: how many, and a summary of each column that was measured."""
    told: dict[str, Any] = {"cycles": len(rows)}
    for name in columns:
        if values := column(rows, name):
            told[name] = asdict(summary(values))
    for name in ("is_same_text", "is_same_logprobs"):
        if any(row.get(name) is not None for row in rows):
            told[name] = share(rows, name)
    return told


def line(label: str, told: Mapping[str, Any], name: str, unit: str = "s", digits: int = 3) -> str:
    """One row of the Markdown table; empty where the column was not measured."""
    found = told.get(name)
    if found is None:
        return ""
    shown = " | ".join(f"{found[key]:.{digits}f}" for key in ("p50", "p95", "worst"))
    return f"| {label} | {unit} | {found['n']} | {shown} |"


HEAD = "| what | unit | n | p50 | p95 | max |\n|---|---|---|---|---|---|"

"""What a refresh is told to do with creations that were cut off.

Owns: that choice. Promises: plain data. Never: acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PendingCreations:
    """What a refresh does with creations that were cut off: forget all (clear), leave all, or take over those
    named (URN → id)."""

    clear: bool = False
    imports: Mapping[str, str] = field(default_factory=dict)

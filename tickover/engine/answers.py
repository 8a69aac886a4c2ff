"""What a registration is answered with, and who works one out.

Owns: the values between the registrar and its worker. Promises: plain data. Never: acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from tickover.engine.goal import Goal
from tickover.engine.provider import InvokeResult, Provider
from tickover.engine.state import ResourceState
from tickover.engine.values import PropertyMap


class Result(Enum):
    """SKIPPED: something that it needs failed."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Answer:
    """state: its id is empty while unknown. unknown: nothing of it is to be known in this run."""

    state: ResourceState
    result: Result = Result.SUCCESS
    unknown: bool = False
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Worker(Protocol):
    """Plans or applies. What it raises is reported by the registrar."""

    async def handle(self, goal: Goal) -> Answer: ...
    async def read(self, goal: Goal, id: str) -> Answer: ...
    async def outputs(self, state: ResourceState, outputs: PropertyMap) -> ResourceState: ...
    async def invoke(self, provider: str, token: str, args: PropertyMap) -> InvokeResult | None:
        """None: unknown yet."""

    def provider(self, reference: str, user: str) -> tuple[Provider, bool]:
        """The provider of "urn::id", and whether it is configured."""

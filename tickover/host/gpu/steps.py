"""Doing a plan: each step as soon as those that it comes after are done.

Owns: the tasks of one swap. Promises: after the first step that fails no other begins, those under way come
to their end, and what failed is told; a cancelled swap leaves no task behind. Never: knows what a step does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tickover.host.gpu.swaps import Action, Step, SwapPlan


@dataclass(eq=False)
class StepFailed(Exception):
    """A step did not come off; reason is a phrase. action: filled in by `carry_out`."""

    reason: str
    action: Action | None = None

    def __str__(self) -> str:
        return self.reason


async def carry_out(plan: SwapPlan, do: Callable[[Action], Awaitable[None]]) -> None:
    """All steps of a plan. Raises StepFailed, the first one's."""
    waiting: list[Step] = list(plan.steps)
    under_way: dict[asyncio.Task[None], Step] = {}
    finished: set[int] = set()
    failed: StepFailed | None = None
    loop = asyncio.get_running_loop()
    try:
        while True:
            for step in [s for s in waiting if failed is None and finished.issuperset(s.after)]:
                waiting.remove(step)
                under_way[loop.create_task(_one(step, do))] = step
            if not under_way:
                break
            ended, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                step = under_way.pop(task)
                failed = failed or _failure(task, step)
                finished.add(step.number)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    if failed is not None:
        raise failed


async def _one(step: Step, do: Callable[[Action], Awaitable[None]]) -> None:
    await do(step.action)


def _failure(task: asyncio.Task[None], step: Step) -> StepFailed | None:
    error = task.exception()
    if error is None:
        return None
    if isinstance(error, StepFailed):
        return StepFailed(error.reason, step.action)
    raise error

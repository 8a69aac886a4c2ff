"""Holds a run to a saved plan.

Owns: what of the plan came up. Promises: a step that was not planned is refused before it begins. Never:
reads or writes the plan's file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tickover.engine.failures import Failures
from tickover.engine.goal import Goal
from tickover.engine.plan import Op, Step
from tickover.engine.savedplan import SavedPlan, departed, departure, planned_goal, unseen
from tickover.engine.values import PropertyMap


@dataclass(slots=True)
class Guard:
    """The plan of one run."""

    plan: SavedPlan
    seen: set[str] = field(default_factory=set)

    def expect(self, goal: Goal, inputs: PropertyMap, op: Op) -> None:
        """Raises TickoverError ``plan-departed`` unless op was planned for goal with these inputs."""
        self.seen.add(goal.urn)
        why = departure(self.plan.resources.get(goal.urn), op, planned_goal(goal, inputs))
        if why:
            raise departed(goal.urn, why, stack=self.plan.binding.stack)

    def expect_removals(self, steps: Iterable[Step], failures: Failures) -> None:
        """Report each removal that was not planned."""
        for step in steps:
            self.seen.add(step.urn)
            why = departure(self.plan.resources.get(step.urn), step.op, None)
            if why:
                failures.add(step.urn, departed(step.urn, why, stack=self.plan.binding.stack))

    def finish(self, failures: Failures) -> None:
        """Report what was planned and did not come up."""
        for urn in unseen(self.plan, self.seen):
            failures.add(urn, departed(urn, "the program did not register it", stack=self.plan.binding.stack))

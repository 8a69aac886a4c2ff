"""Policy packs in the middle of a run: remedies before a step, verdicts on each resource and on the stack.

Owns: what was found in one run. Promises: a dry run collects every violation; in an apply a mandatory one
stops its resource before anything is done. Never: starts a pack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tickover.engine.analyzer import AnalyzedResource, PolicyPacks
from tickover.engine.goal import Goal
from tickover.engine.plan import PolicyViolation
from tickover.engine.provider import Severity
from tickover.engine.state import ResourceState
from tickover.engine.urn import split_reference
from tickover.engine.values import PropertyMap
from tickover.errors import Exit, TickoverError

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCKING: Final = frozenset({"mandatory", "remediate"})


@dataclass(slots=True)
class Judge:
    """packs None: there are none. tell: called with each violation once. say: severity, URN, message."""

    packs: PolicyPacks | None
    dry_run: bool
    tell: Callable[[PolicyViolation], None]
    say: Callable[[Severity, str, str], None]
    found: list[PolicyViolation] = field(default_factory=list)
    provider_inputs: dict[str, PropertyMap] = field(default_factory=dict)

    async def inputs(self, goal: Goal, inputs: PropertyMap) -> PropertyMap:
        """inputs after the remedies. Raises TickoverError ``policy-violated`` in an apply."""
        if goal.is_provider:
            self.provider_inputs[goal.urn] = inputs
        if self.packs is None:
            return inputs
        remedied = await self.packs.remediate(self._analyzed(goal, inputs))
        for remediation in remedied.remediations:
            changed = ", ".join(remediation.changed)
            self.say(
                Severity.INFO,
                goal.urn,
                f"policy {remediation.pack}/{remediation.policy} changed {changed}: "
                f"{remediation.description}",
            )
        self._note(remedied.violations)
        verdicts = await self.packs.analyze(self._analyzed(goal, remedied.properties))
        self._note(verdicts)
        blocking = [v for v in verdicts if v.level in BLOCKING]
        if blocking and not self.dry_run:
            raise violated(goal.urn, blocking)
        return remedied.properties

    async def stack(self, goals: Mapping[str, Goal], states: Mapping[str, ResourceState]) -> None:
        """What the packs say of the whole. Raises TickoverError ``policy-violated`` in an apply."""
        if self.packs is None:
            return
        resources = [
            self._analyzed(goal, states[urn].outputs if states[urn].custom else states[urn].inputs)
            for urn, goal in goals.items()
            if urn in states
        ]
        verdicts = await self.packs.analyze_stack(resources)
        self._note(verdicts)
        blocking = [v for v in verdicts if v.level in BLOCKING]
        if blocking and not self.dry_run:
            raise violated("", blocking)

    def _note(self, verdicts: Iterable[PolicyViolation]) -> None:
        for violation in verdicts:
            self.found.append(violation)
            self.tell(violation)

    def _analyzed(self, goal: Goal, properties: PropertyMap) -> AnalyzedResource:
        provider = split_reference(goal.provider)[0] if goal.provider else ""
        timeouts = goal.custom_timeouts
        return AnalyzedResource(
            urn=goal.urn,
            type=goal.type,
            name=goal.name,
            properties=properties,
            provider=goal.provider,
            parent=goal.parent,
            dependencies=goal.dependencies,
            property_dependencies=goal.property_dependencies,
            protect=bool(goal.protect),
            provider_inputs=self.provider_inputs.get(provider, {}),
            ignore_changes=goal.ignore_changes,
            delete_before_replace=goal.delete_before_replace,
            additional_secret_outputs=goal.additional_secret_outputs,
            aliases=tuple(a.urn for a in goal.aliases if a.urn),
            custom_timeouts={}
            if timeouts is None
            else {"create": timeouts.create, "update": timeouts.update, "delete": timeouts.delete},
        )


def violated(urn: str, violations: list[PolicyViolation]) -> TickoverError:
    """What stops a step, or an operation."""
    lines = "\n".join(f"{v.pack}/{v.policy}: {v.message}" for v in violations)
    return TickoverError(
        "policy-violated",
        "Policy forbids this",
        lines,
        address=urn or (violations[0].urn if violations else ""),
        exit_code=Exit.POLICY,
    )

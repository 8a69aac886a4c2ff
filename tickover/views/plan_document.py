"""The plan as one JSON document: what other programs read.

Owns: the field names of the plan document and their version. Promises: plain JSON, sorted, secrets and
unknowns masked with their paths listed beside; money as decimal strings. Never: a sentence as an API.

A major change of ``format_version`` breaks readers; a reader must ignore fields it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tickover.engine.plan import Plan, PolicyViolation, Step
from tickover.engine.state import ResourceState
from tickover.engine.values import mask
from tickover.views.values import secret_paths, unknown_paths
from tickover.views.words import HALVES

FORMAT_VERSION = "1.0"


class Cost(Protocol):
    """What a plan costs, as far as a machine-readable view needs to know it."""

    def as_json(self) -> dict[str, Any]: ...


def document(
    plan: Plan, cost: Cost | None = None, diagnostics: Sequence[Mapping[str, Any]] = (), errored: bool = False
) -> dict[str, Any]:
    """The plan document."""
    return {
        "format_version": FORMAT_VERSION,
        "project": plan.project,
        "stack": plan.stack,
        "has_changes": plan.has_changes,
        "counts": dict(sorted(plan.counts.items())),
        "steps": [step_json(s) for s in plan.steps if not _is_merged_half(s, plan)],
        "outputs": values_json(plan.outputs),
        "outputs_before": values_json(plan.old_outputs),
        "policies": [policy_json(v) for v in plan.violations],
        "cost": cost.as_json() if cost is not None else None,
        "diagnostics": [
            *(dict(d) for d in diagnostics),
            *(
                {"severity": "warning", "message": warning, "urn": ""}
                for warning in plan.warnings
                if all(d.get("message") != warning for d in diagnostics)
            ),
        ],
        "errored": errored,
    }


def _is_merged_half(step: Step, plan: Plan) -> bool:
    return step.op in HALVES and any(s.urn == step.urn and s.op not in HALVES for s in plan.steps)


def step_json(step: Step) -> dict[str, Any]:
    """One step of the document."""
    before, after = _properties(step.old), _properties(step.new)
    return {
        "urn": step.urn,
        "type": step.type,
        "name": step.name,
        "parent": step.parent,
        "op": step.op.value,
        "reasons": list(step.reasons),
        "before": mask(before),
        "after": mask(after),
        "after_unknown": unknown_paths(after) if after else [],
        "before_secret": secret_paths(before) if before else [],
        "after_secret": secret_paths(after) if after else [],
        "changed_paths": sorted({*step.diff_keys, *step.detailed}),
        "replace_paths": sorted(step.replace_keys),
        "source_position": step.source_position,
    }


def _properties(state: ResourceState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {k: v for k, v in sorted(state.inputs.items()) if not k.startswith("__")}


def policy_json(violation: PolicyViolation) -> dict[str, Any]:
    """One policy violation."""
    return {
        "pack": violation.pack,
        "pack_version": violation.pack_version,
        "policy": violation.policy,
        "level": violation.level,
        "message": violation.message,
        "urn": violation.urn,
    }


def values_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """A property map, masked and sorted."""
    return {key: mask(value) for key, value in sorted(values.items())}

"""The plan as one JSON document: what other programs read.

Owns: the field names of the plan document and their version. Promises: plain JSON, sorted, secrets and
unknowns masked with their paths listed beside; money as decimal strings. Never: a sentence as an API.

A major change of ``format_version`` breaks readers; a reader must ignore fields it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tickover.engine.plan import Plan, PolicyViolation, Step
from tickover.views.details import properties
from tickover.views.differences import masked_alike
from tickover.views.values import Hidden, marked_paths, masked, secret_paths, unknown_paths
from tickover.views.words import HALVES, is_drift, is_quiet, is_skipped, position_text

FORMAT_VERSION = "1.1"


class Cost(Protocol):
    """What a plan costs, as far as a machine-readable view needs to know it."""

    def as_json(self) -> dict[str, Any]: ...


def document(
    plan: Plan, cost: Cost | None = None, diagnostics: Sequence[Mapping[str, Any]] = (), errored: bool = False
) -> dict[str, Any]:
    """The plan document."""
    whole = {step.urn for step in plan.steps if step.op not in HALVES}
    before, after = masked_alike(dict(plan.old_outputs), dict(plan.outputs))
    return {
        "format_version": FORMAT_VERSION,
        "project": plan.project,
        "stack": plan.stack,
        "has_changes": plan.has_changes,
        "counts": dict(sorted(plan.counts.items())),
        "steps": [step_json(s) for s in plan.steps if s.op not in HALVES or s.urn not in whole],
        "drift": [_drift(s) for s in plan.steps if is_drift(s) and not is_quiet(s)],
        "outputs": values_json(after),
        "outputs_unknown": unknown_paths(after),
        "outputs_secret": secret_paths(after),
        "outputs_before": values_json(before),
        "outputs_before_secret": secret_paths(before),
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


def step_json(step: Step) -> dict[str, Any]:
    """One step of the document. Of drift, before and after are outputs; else they are inputs."""
    old, new = properties(step)
    before, after = masked_alike(old, new)
    return {
        "urn": step.urn,
        "type": step.type,
        "name": step.name,
        "custom": step.custom,
        "parent": step.parent,
        "id": step.old.id if step.old is not None else "",
        "op": step.op.value,
        "skipped": is_skipped(step),
        "reasons": list(step.reasons),
        "before": None if step.old is None else masked(before),
        "after": None if step.new is None else masked(after),
        "after_unknown": unknown_paths(after),
        "before_secret": secret_paths(before),
        "after_secret": secret_paths(after),
        "before_hidden": list(marked_paths(before, Hidden)),
        "after_hidden": list(marked_paths(after, Hidden)),
        "changed_paths": sorted({*step.diff_keys, *step.detailed}),
        "replace_paths": sorted(
            {*step.replace_keys, *(path for path, d in step.detailed.items() if d.kind.is_replace)}
        ),
        "source_position": position_text(step.source_position),
    }


def _drift(step: Step) -> dict[str, Any]:
    return {
        "urn": step.urn,
        "type": step.type,
        "name": step.name,
        "is_gone": step.new is None,
        "changed_paths": sorted({*step.diff_keys, *step.detailed}),
    }


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
    return {key: masked(value) for key, value in sorted(values.items())}

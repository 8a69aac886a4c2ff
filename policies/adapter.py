"""Rules as pulumi-policy wants them.

Owns: the passage between the policy SDK and plain data. Promises: values not known yet become None
instead of aborting a rule, so that one unknown hides no other finding. Never: holds a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyResource,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)

from tickover.engine.wire import UNKNOWN_SENTINELS

if TYPE_CHECKING:
    from .rules import Resource, Rule

Report = Callable[..., None]


def as_policy(rule: Rule, resource_type: type[Resource]) -> Policy:
    """The policy that serves a rule. resource_type: `rules.Resource` (run by path, it is no package's)."""

    def of_resource(args: ResourceValidationArgs, report: Report) -> None:
        resource = resource_type(args.urn, args.resource_type, args.name, plain(args.props))
        for finding in rule.check([resource], args.get_config()):
            report(finding.message, finding.urn)

    def of_stack(args: StackValidationArgs, report: Report) -> None:
        resources = [_resource(r, resource_type) for r in args.resources]
        for finding in rule.check(resources, args.get_config()):
            report(finding.message, finding.urn)

    common: dict[str, Any] = {
        "name": rule.name,
        "description": rule.description,
        "enforcement_level": EnforcementLevel(rule.level),
        "severity": Severity(rule.severity),
        "remediation_steps": rule.remediation,
        "config_schema": PolicyConfigSchema(dict(rule.settings)) if rule.settings else None,
    }
    if rule.scope == "stack":
        return StackValidationPolicy(validate=of_stack, **common)
    return ResourceValidationPolicy(validate=of_resource, **common)


def plain(value: Any) -> Any:
    """A value of the SDK as plain data; what is not known yet becomes None."""
    if isinstance(value, str):
        return None if value in UNKNOWN_SENTINELS else value
    if isinstance(value, Mapping):
        # The SDK's proxy raises on reading an unknown; its target does not.
        inner = value if isinstance(value, dict) else value["__target"]
        return {key: plain(item) for key, item in inner.items()}
    if isinstance(value, Sequence):
        inner_list = value if isinstance(value, list) else value["__target"]  # type: ignore[call-overload]
        return [plain(item) for item in inner_list]
    return value


def _resource(resource: PolicyResource, resource_type: type[Resource]) -> Resource:
    parent = resource.parent
    return resource_type(
        resource.urn,
        resource.resource_type,
        resource.name,
        plain(resource.props),
        plain(parent.props) if parent is not None else {},
    )

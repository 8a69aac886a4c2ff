"""Remediations: they change the inputs before a resource is made."""

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Secret,
)


def adds_tag(args: ResourceValidationArgs):
    """Every map gets a tag."""
    value = args.props.get("input")
    if args.resource_type != "pulumi:index:Stash" or "text" not in (value or {}) or "tag" in value:
        return None
    return {**args.props, "input": {**value, "tag": f"tag of {args.name}"}}


def hides(args: ResourceValidationArgs):
    """What is called secret is made one."""
    value = args.props.get("input")
    if args.resource_type != "pulumi:index:Stash" or "hide" not in (value or {}):
        return None
    return {"input": {"hidden": Secret(value["hide"])}}


def checks(args: ResourceValidationArgs, report) -> None:
    """Sees what the repairs left."""
    value = args.props.get("input")
    if isinstance(value, dict) and "text" in value and "tag" not in value:
        report(f"{args.name} has no tag")


PolicyPack(
    "repairs",
    policies=[
        ResourceValidationPolicy(
            "adds-tag", "Adds a tag.", remediate=adds_tag, enforcement_level=EnforcementLevel.REMEDIATE
        ),
        ResourceValidationPolicy(
            "hides", "Hides.", remediate=hides, enforcement_level=EnforcementLevel.REMEDIATE
        ),
        ResourceValidationPolicy("has-tag", "Has a tag.", checks, EnforcementLevel.MANDATORY),
    ],
)

"""Rules about a whole stack."""

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    StackValidationArgs,
    StackValidationPolicy,
)


def crowded(args: StackValidationArgs, report: ReportViolation) -> None:
    """No more than two stashes."""
    stashes = [one for one in args.resources if one.resource_type == "pulumi:index:Stash"]
    if len(stashes) > 2:
        report(f"{len(stashes)} stashes: {sorted(one.name for one in stashes)}", stashes[0].urn)


def tells(args: StackValidationArgs, report: ReportViolation) -> None:
    """Says who depends on whom."""
    for one in args.resources:
        if one.dependencies:
            report(f"{one.name} after {sorted(other.name for other in one.dependencies)}", one.urn)


PolicyPack(
    "whole",
    policies=[
        StackValidationPolicy("crowded", "Two stashes are enough.", crowded, EnforcementLevel.MANDATORY),
        StackValidationPolicy("tells", "Says what it sees.", tells, EnforcementLevel.ADVISORY),
    ],
)

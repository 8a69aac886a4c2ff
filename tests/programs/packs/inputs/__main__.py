"""Rules about the inputs of stashes: one of each level."""

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)


def advises(args: ResourceValidationArgs, report: ReportViolation) -> None:
    """Long texts are not nice."""
    if isinstance(args.props.get("input"), str) and len(args.props["input"]) > 5:
        report(f"{args.name} is long")


def forbids(args: ResourceValidationArgs, report: ReportViolation) -> None:
    """Red is forbidden."""
    if args.props.get("input") == "red":
        report("red it is")
        report("and it should not be")


def off(args: ResourceValidationArgs, report: ReportViolation) -> None:
    """Never called."""
    raise AssertionError("a disabled rule was called")


PolicyPack(
    "inputs",
    enforcement_level=EnforcementLevel.ADVISORY,
    policies=[
        ResourceValidationPolicy("no-long", "Texts should be short.", advises),
        ResourceValidationPolicy("no-red", "Nothing may be red.", forbids, EnforcementLevel.MANDATORY),
        ResourceValidationPolicy("off", "Is off.", off, EnforcementLevel.DISABLED),
    ],
)

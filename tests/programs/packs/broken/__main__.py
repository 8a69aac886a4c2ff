"""A rule that raises."""

from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy


def raises(args, report) -> None:
    """Raises for everything."""
    raise LookupError(f"the rule broke at {args.name}")


PolicyPack(
    "broken", policies=[ResourceValidationPolicy("raises", "Breaks.", raises, EnforcementLevel.ADVISORY)]
)

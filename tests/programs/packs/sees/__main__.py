"""A rule that tells what it is given of a resource, as advice."""

from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy


def sees(args, report) -> None:
    """Tells."""
    opts = args.opts
    parts = [
        args.name,
        args.resource_type,
        f"protect={opts.protect}",
        f"ignore={opts.ignore_changes}",
        f"parent={opts.parent.split('::')[-1]}" if opts.parent else "no parent",
        f"create={opts.custom_timeouts.create_seconds:g}",
        f"provider={args.provider.name if args.provider else None}",
        f"secrets={opts.additional_secret_outputs}",
        f"tags={dict(args.stack_tags)}",
    ]
    report(" ".join(parts))


def reads(args, report) -> None:
    """Touches an unknown value."""
    if args.name == "late" and args.props["input"] == "red":
        report("late is red")


PolicyPack(
    "sees",
    policies=[
        ResourceValidationPolicy("sees", "Tells.", sees, EnforcementLevel.ADVISORY),
        ResourceValidationPolicy("reads", "Reads.", reads, EnforcementLevel.MANDATORY),
    ],
)

"""A rule with a schema of config, and defaults."""

from pulumi_policy import EnforcementLevel, PolicyConfigSchema, PolicyPack, ResourceValidationPolicy


def limit(args, report) -> None:
    """No number above the limit."""
    config = args.get_config()
    value = args.props.get("input")
    if args.resource_type == "pulumi:index:Stash" and value > config["most"]:
        report(f"{value:g} is more than {config['most']:g}, says {config.get('who', 'nobody')}")


PolicyPack(
    "limits",
    policies=[
        ResourceValidationPolicy(
            "limit",
            "Not too much.",
            limit,
            EnforcementLevel.MANDATORY,
            PolicyConfigSchema(
                {
                    "most": {"type": "number", "default": 10},
                    "who": {"type": "string", "enum": ["ada", "bob"]},
                },
                ["most"],
            ),
        )
    ],
)

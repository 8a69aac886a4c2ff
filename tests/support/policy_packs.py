"""Small policy packs written to a folder, for tests of the analyzer."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from tickover.engine.analyzer import AnalyzedResource

MANIFEST = "runtime: python\nversion: 1.2.3\n"

PACK = """
    from pulumi_policy import (
        EnforcementLevel, PolicyConfigSchema, PolicyPack, ResourceValidationPolicy, StackValidationPolicy,
    )
    import os

    def no_red(args, report):
        if args.props["colour"] == args.get_config().get("colour", "red"):
            report(f"{args.name} is {args.props['colour']}")

    def crowded(args, report):
        for resource in args.resources:
            deps = [d.name for d in resource.dependencies]
            parent = resource.parent.name if resource.parent else "-"
            where = os.environ["PULUMI_STACK"]
            report(f"{resource.name} under {parent} after {deps} in {where}", resource.urn)

    def broken(args, report):
        raise RuntimeError("the rule is broken")

    PolicyPack("paint", enforcement_level=EnforcementLevel.ADVISORY, policies=[
        ResourceValidationPolicy(
            "no-red", "Nothing may be red.", no_red, EnforcementLevel.MANDATORY,
            PolicyConfigSchema({"colour": {"type": "string"}}),
        ),
        StackValidationPolicy("crowded", "Says who is there.", crowded),
        ResourceValidationPolicy("broken", "Fails.", broken, EnforcementLevel.DISABLED),
    ])
"""

# Remedies: `only-green` paints what is red, `sized` sets a size and hides it, `both` has a rule too.
REMEDIES = """
    from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy, StackValidationPolicy
    from pulumi_policy.secret import Secret
    import pulumi

    def green(args):
        if args.props["colour"] == "red":
            args.props["colour"] = "green"
            return args.props

    def sized(args):
        if "parts" in args.props:
            args.props["parts"][0]["size"] = 3
            return args.props

    def still(args, report):
        report(f"dry run: {pulumi.runtime.is_dry_run()}")

    def not_mine(args, report):
        args.not_applicable("only for others")

    def tagged(args, report):
        report(f"tags {dict(args.stack_tags)} and size {pulumi.Config('demo').get('size')}")

    remedy = EnforcementLevel.REMEDIATE
    PolicyPack("remedies", enforcement_level=EnforcementLevel.ADVISORY, policies=[
        ResourceValidationPolicy("only-green", "Red becomes green.", None, remedy, remediate=green),
        ResourceValidationPolicy("sized", "Parts have a size.", None, remedy, remediate=sized),
        ResourceValidationPolicy("no-remedy", "Has a rule alone.", still, remedy),
        ResourceValidationPolicy("not-mine", "Judges others.", not_mine, EnforcementLevel.MANDATORY),
        StackValidationPolicy("stack", "Of all.", tagged, remedy),
    ])
"""


def write_pack(folder: Path, program: str = PACK, manifest: str = MANIFEST) -> Path:
    """A pack in folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "PulumiPolicy.yaml").write_text(manifest)
    (folder / "__main__.py").write_text(dedent(program))
    return folder


def resource(name: str, **fields: object) -> AnalyzedResource:
    """A thing of the stack dev."""
    urn = f"urn:pulumi:dev::demo::test:x:Thing::{name}"
    return AnalyzedResource(urn=urn, type="test:x:Thing", name=name, **fields)  # type: ignore[arg-type]

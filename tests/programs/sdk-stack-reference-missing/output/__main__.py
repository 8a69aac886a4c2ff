"""Requires an output that the other stack does not have."""

import pulumi

base = pulumi.StackReference(f"organization/{pulumi.get_project()}/base")
pulumi.export("got", base.get_output("x"))
pulumi.export("x", base.require_output("x"))

"""Depends on an output that holds resources."""

import pulumi

names = pulumi.Stash("names", input=["a", "b"])
held = names.output.apply(lambda v: [pulumi.Stash(f"item-{x}", input=x) for x in v])
pulumi.Stash("last", input=1, opts=pulumi.ResourceOptions(depends_on=held))
pulumi.Stash(
    "mixed", input=1, opts=pulumi.ResourceOptions(depends_on=[names, names.output.apply(lambda _: names)])
)

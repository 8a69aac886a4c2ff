"""Makes resources from the value of another."""

import pulumi

names = pulumi.Stash("names", input=["a", "b"])


def make(values):
    made = [pulumi.Stash(f"item-{value}", input=value) for value in values]
    return pulumi.Output.all(*[item.output for item in made])


made = names.output.apply(make)
pulumi.export("made", made)
pulumi.Stash("sum", input=made.apply("-".join), opts=pulumi.ResourceOptions(depends_on=[names]))

"""The same type and name twice, one after the other."""

import pulumi

first = pulumi.Stash("same", input=1)
pulumi.Stash("same", input=1, opts=pulumi.ResourceOptions(depends_on=[first]))

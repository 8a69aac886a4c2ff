"""One too many."""

import pulumi

first = pulumi.Stash("first", input=1)
second = pulumi.Stash("second", input=first.output)
pulumi.Stash("third", input=1, opts=pulumi.ResourceOptions(depends_on=[second]))

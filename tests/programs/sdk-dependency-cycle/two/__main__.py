"""Two resources that wait for each other through a deferred output."""

import pulumi

later, resolve = pulumi.deferred_output()
left = pulumi.Stash("left", input=later)
right = pulumi.Stash("right", input=left.output)
resolve(right.output)

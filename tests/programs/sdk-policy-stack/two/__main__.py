"""Two stashes."""

import pulumi

first = pulumi.Stash("first", input=1)
pulumi.Stash("second", input=first.output)

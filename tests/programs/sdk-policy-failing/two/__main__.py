"""Two."""

import pulumi

pulumi.Stash("first", input=2)
pulumi.Stash("second", input=1)

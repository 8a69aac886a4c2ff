"""Fine."""

import pulumi

pulumi.Stash("a", input=1)

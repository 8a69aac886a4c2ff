"""Two resources."""

import pulumi

pulumi.Stash("a", input=1)
pulumi.export("n", 1)

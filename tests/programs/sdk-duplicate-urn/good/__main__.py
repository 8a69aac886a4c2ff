"""One resource."""

import pulumi

pulumi.Stash("same", input=1)

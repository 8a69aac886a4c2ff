"""One stash."""

import pulumi

pulumi.Stash("first", input=1)

"""One resource, no config."""

import pulumi

pulumi.Stash("keep", input="first")
pulumi.export("first", 1)

"""One resource and one output."""

import pulumi

pulumi.Stash("keep", input=1)
pulumi.export("value", "first")

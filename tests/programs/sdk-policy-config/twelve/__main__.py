"""A number."""

import pulumi

pulumi.Stash("number", input=12)

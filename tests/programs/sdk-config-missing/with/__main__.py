"""Needs a key after a registration."""

import pulumi

pulumi.Stash("keep", input="first")
pulumi.Stash("late", input=pulumi.Config().require("needed"))

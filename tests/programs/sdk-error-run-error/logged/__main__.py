"""Logs an error in the middle."""

import pulumi

pulumi.Stash("before", input=1)
pulumi.log.error("something is wrong")
after = pulumi.Stash("after", input=1)
pulumi.export("after", after.output)

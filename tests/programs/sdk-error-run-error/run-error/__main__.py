"""Raises the SDK's own error."""

import pulumi

pulumi.Stash("before", input=1)
raise pulumi.RunError("this is said without a traceback")

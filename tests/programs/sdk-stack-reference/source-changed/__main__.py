"""Exports other values."""

import pulumi

pulumi.export("open", "changed")
pulumi.export("closed", "no longer secret")

"""Exports for others."""

import pulumi

pulumi.export("open", {"a": [1, 2]})
pulumi.export("closed", pulumi.Output.secret("hush"))
pulumi.export("partly", {"in": pulumi.Output.secret("hush"), "out": 1})

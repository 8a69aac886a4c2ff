"""The same names with other values, some gone and some new."""

import pulumi

pulumi.export("string", pulumi.Output.secret("now secret"))
pulumi.export("secret", "now open")
pulumi.export("list", [1, "three"])
pulumi.export("map", {"z": 2})
pulumi.export("fresh", 1)

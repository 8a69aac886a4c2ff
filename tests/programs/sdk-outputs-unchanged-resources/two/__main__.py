"""The same resource; the output is exported twice."""

import pulumi

pulumi.Stash("keep", input=1)
pulumi.export("value", "second")
pulumi.export("value", "third")
pulumi.export("value", pulumi.Output.from_input("fourth"))

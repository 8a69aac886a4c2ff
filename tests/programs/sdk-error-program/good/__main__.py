"""Two resources and an output."""

import pulumi

pulumi.Stash("a", input=1)
pulumi.Stash("b", input=1)
pulumi.export("step", "good")
pulumi.export("only good", {"a": 1})

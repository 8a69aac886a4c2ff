"""Other inputs: one now secret, one now a list."""

import pulumi

item = pulumi.Stash("item", input=["now", "a list"])
other = pulumi.Stash("other", input=pulumi.Output.secret("now secret"))
pulumi.export("kept", item.output)
pulumi.export("given", item.input)
pulumi.export("other", other.output)

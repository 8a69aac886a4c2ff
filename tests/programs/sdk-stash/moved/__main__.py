"""One stash has a new name and an alias, the other has a trigger for the first time."""

import pulumi

item = pulumi.Stash("renamed", input=3, opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(name="item")]))
other = pulumi.Stash("other", input="after", opts=pulumi.ResourceOptions(replacement_trigger=1))
pulumi.export("kept", item.output)
pulumi.export("other", other.output)

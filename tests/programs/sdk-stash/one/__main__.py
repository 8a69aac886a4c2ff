"""Two stashes."""

import pulumi
from pulumi.stash import StashArgs

item = pulumi.Stash("item", input={"a": [1, None], "s": pulumi.Output.secret("hush")})
other = pulumi.Stash("other", StashArgs(input="plain"))
pulumi.export("kept", item.output)
pulumi.export("given", item.input)
pulumi.export("other", other.output)

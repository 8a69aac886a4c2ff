"""The resource to be found."""

import pulumi

pulumi.Stash("known", input={"a": 1, "s": pulumi.Output.secret("hush")})

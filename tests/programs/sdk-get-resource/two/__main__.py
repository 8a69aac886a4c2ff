"""Looks it up."""

import pulumi

known = pulumi.Stash("known", input={"a": 1, "s": pulumi.Output.secret("hush")})
found = known.urn.apply(lambda urn: pulumi.runtime.invoke_async("pulumi:pulumi:getResource", {"urn": urn}))
pulumi.export("urn", found["urn"])
pulumi.export("state", found["state"])

"""Looks up what is not there."""

import pulumi

known = pulumi.Stash("known", input={"a": 1, "s": pulumi.Output.secret("hush")})
urn = f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::pulumi:index:Stash::absent"
pulumi.export("state", pulumi.runtime.invoke_output("pulumi:pulumi:getResource", {"urn": urn}))

"""An invoke that nobody has."""

import pulumi

pulumi.Stash("known", input="right")
pulumi.export("got", pulumi.runtime.invoke_output("pulumi:pulumi:noSuchFunction", {}))

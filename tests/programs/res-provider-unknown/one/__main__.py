"""Made."""

import testbed
from pulumi import InvokeOptions, ResourceOptions, export

seed = testbed.Computed("seed", "a")
own = testbed.Provider("own", prefix=seed.computed)
made = testbed.Simple("made", 1, opts=ResourceOptions(provider=own))
testbed.Named("named", 1, name="n", opts=ResourceOptions(provider=own))
testbed.Simple("uses", made.label)
export("said", testbed.echo(a=1, opts=InvokeOptions(provider=own)).apply(lambda told: told.get("prefix")))

"""By its own."""

import testbed
from pulumi import InvokeOptions, ResourceOptions, export

own = testbed.Provider("own")
testbed.Simple("a", 1, opts=ResourceOptions(provider=own))
export("said", testbed.echo(a=1, opts=InvokeOptions(provider=own))["a"])

"""Its own."""

import testbed
from pulumi import ResourceOptions

own = testbed.Provider("own", prefix="p")
a = testbed.Simple("a", 1, opts=ResourceOptions(provider=own))
testbed.Simple("b", a.id, opts=ResourceOptions(provider=own))

"""No secret."""

import testbed
from pulumi import ResourceOptions

own = testbed.Provider("own", prefix="p", token="open")
testbed.Simple("a", 1, opts=ResourceOptions(provider=own))
testbed.Simple("b", 1)

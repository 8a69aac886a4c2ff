"""Another word."""

import testbed
from pulumi import ResourceOptions

own = testbed.Provider("own", word="q")
a = testbed.Simple("a", 1, opts=ResourceOptions(provider=own))
testbed.Simple("b", a.id)
testbed.Simple("new", 1)

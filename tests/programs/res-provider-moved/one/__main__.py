"""By the first."""

import testbed
from pulumi import ResourceOptions

one = testbed.Provider("one", prefix="p")
two = testbed.Provider("two", prefix="p")
testbed.Simple("first", "1", opts=ResourceOptions(provider=one))
testbed.Simple("second", "1")

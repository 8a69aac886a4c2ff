"""The twin has another config now."""

import testbed
from pulumi import ResourceOptions

one = testbed.Provider("one", prefix="p")
two = testbed.Provider("two", prefix="q")
testbed.Simple("first", "1", opts=ResourceOptions(provider=two))
testbed.Simple("second", "1", opts=ResourceOptions(provider=one))

"""One is protected."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("first")
testbed.Simple("kept", first.id, opts=ResourceOptions(protect=True))
other = testbed.Simple("other")
testbed.Simple("last", other.id)

"""It dies."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("first")
testbed.Failing("bad", fails="crash", opts=ResourceOptions(depends_on=[first]))

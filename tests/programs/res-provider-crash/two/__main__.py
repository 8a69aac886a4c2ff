"""It does not."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("first")
testbed.Failing("bad", opts=ResourceOptions(depends_on=[first]))

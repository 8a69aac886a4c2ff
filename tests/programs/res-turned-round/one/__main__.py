"""One way."""

import testbed
from pulumi import ResourceOptions

a = testbed.Simple("a", "x")
b = testbed.Simple("b", a.id)
testbed.Simple("c", a.id, opts=ResourceOptions(depends_on=[b]))

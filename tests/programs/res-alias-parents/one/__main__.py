"""Before."""

import testbed
from pulumi import ResourceOptions

old = testbed.Group("old")
testbed.Simple("of", opts=ResourceOptions(parent=old))
testbed.Simple("to")
testbed.Simple("under", opts=ResourceOptions(parent=old))
testbed.Simple("out", opts=ResourceOptions(parent=old))

"""Changed."""

import testbed
from pulumi import ResourceOptions

top = testbed.Group("top")
testbed.Simple("child", 2, opts=ResourceOptions(parent=top))
testbed.Simple("new", 2, opts=ResourceOptions(parent=top))
testbed.Simple("beside", 2)

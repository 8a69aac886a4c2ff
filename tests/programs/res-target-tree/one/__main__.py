"""A tree."""

import testbed
from pulumi import ResourceOptions

top = testbed.Group("top")
testbed.Simple("child", 1, opts=ResourceOptions(parent=top))
testbed.Simple("beside", 1)

"""Before."""

import testbed
from pulumi import ResourceOptions

parent = testbed.Group("parent")
testbed.Simple("child", opts=ResourceOptions(parent=parent))
testbed.Simple("a")
testbed.Simple("lone")
testbed.Simple("t")

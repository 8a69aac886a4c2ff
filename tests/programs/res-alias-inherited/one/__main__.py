"""Three levels."""

import testbed
from pulumi import ResourceOptions

top = testbed.Group("top")
middle = testbed.Group("top-middle", opts=ResourceOptions(parent=top))
leaf = testbed.Simple("top-middle-leaf", opts=ResourceOptions(parent=middle))
testbed.Simple("uses", leaf.id)

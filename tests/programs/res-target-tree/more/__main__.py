"""Deeper."""

import testbed
from pulumi import ResourceOptions

top = testbed.Group("top")
testbed.Simple("child", 3, opts=ResourceOptions(parent=top))
under = testbed.Group("under", opts=ResourceOptions(parent=top))
testbed.Simple("deep", 3, opts=ResourceOptions(parent=under))
testbed.Simple("beside", 3)

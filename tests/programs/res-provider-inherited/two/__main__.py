"""The inner one is gone."""

import testbed
from pulumi import ResourceOptions

outer = testbed.Provider("outer", prefix="outer")
top = testbed.Group("top", opts=ResourceOptions(providers=[outer]))
below = testbed.Group("below", opts=ResourceOptions(parent=top))
deep = testbed.Group("deep", opts=ResourceOptions(parent=top))
testbed.Simple("a", 1, opts=ResourceOptions(parent=below))
b = testbed.Simple("b", 2, opts=ResourceOptions(parent=deep))
testbed.Simple("c", 3, opts=ResourceOptions(parent=b))

"""The first name."""

import testbed
from pulumi import ResourceOptions

a = testbed.Simple("a")
testbed.Simple("child", a.id, opts=ResourceOptions(parent=a))

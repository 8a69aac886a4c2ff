"""A chain."""

import testbed
from pulumi import ResourceOptions

a = testbed.Simple("a")
b = testbed.Simple("b", opts=ResourceOptions(deleted_with=a))
testbed.Simple("c", opts=ResourceOptions(deleted_with=b))
testbed.Simple("d", a.id)

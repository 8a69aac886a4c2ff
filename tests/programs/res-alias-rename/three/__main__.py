"""The same with no alias."""

import testbed
from pulumi import ResourceOptions

parent = testbed.Group("parent2")
testbed.Simple("child2", opts=ResourceOptions(parent=parent))
testbed.Simple("a2")
testbed.Simple("lone", opts=ResourceOptions(parent=parent))
testbed.Computed("t")

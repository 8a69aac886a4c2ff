"""A list that is longer."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("gains", [1, 2], opts=ResourceOptions(ignore_changes=["value[1]"]))
testbed.Simple("loses", extra=[1], opts=ResourceOptions(ignore_changes=["extra[3]"]))

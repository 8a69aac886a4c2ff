"""A protected one."""

import testbed
from pulumi import ResourceOptions

testbed.Named("kept", name="a", opts=ResourceOptions(protect=True))
testbed.Simple("other")

"""Not protected any more."""

import testbed
from pulumi import ResourceOptions

testbed.Named("kept", name="a", opts=ResourceOptions(protect=False))
testbed.Simple("other")

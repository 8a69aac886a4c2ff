"""It would be replaced."""

import testbed
from pulumi import ResourceOptions

testbed.Named("kept", name="b", opts=ResourceOptions(protect=True))
testbed.Simple("other")

"""Replaced."""

import testbed
from pulumi import ResourceOptions

testbed.Named("kept", name="b", opts=ResourceOptions(protect=False))
testbed.Simple("other")

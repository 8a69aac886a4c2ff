"""Taken over."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("taken", 7, opts=ResourceOptions(import_="found-1", protect=True))
testbed.Simple("after", 1)

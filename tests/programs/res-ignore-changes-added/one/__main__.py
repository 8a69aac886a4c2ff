"""One with, one without."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("gains", extra={"a": 1}, opts=ResourceOptions(ignore_changes=["value", "extra.b"]))
testbed.Simple("loses", 1, extra={"a": 1, "b": 2}, opts=ResourceOptions(ignore_changes=["value", "extra.b"]))

"""The other way about."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("gains", 1, extra={"a": 1, "b": 2}, opts=ResourceOptions(ignore_changes=["value", "extra.b"]))
testbed.Simple("loses", extra={"a": 1}, opts=ResourceOptions(ignore_changes=["value", "extra.b"]))

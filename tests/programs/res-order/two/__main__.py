"""The first is updated, the middle one replaced, the last updated."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("first", "2")
middle = testbed.Named("middle", first.value, name="n")
testbed.Simple("last", middle.name, opts=ResourceOptions(depends_on=[middle]))

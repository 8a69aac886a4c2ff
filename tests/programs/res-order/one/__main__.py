"""A chain of three: the middle one can only be replaced."""

import testbed
from pulumi import ResourceOptions

first = testbed.Simple("first", "1")
middle = testbed.Named("middle", first.value, name="m")
testbed.Simple("last", middle.name, opts=ResourceOptions(depends_on=[middle]))

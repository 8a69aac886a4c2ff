"""Made."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("a", 1, diff="never")
testbed.Simple("all", 1, diff="always")
testbed.Simple("key", 1, diff="replaces-other")
testbed.Simple("out", 1, diff="outputs")
testbed.Simple("fresh", 1, diff="never", opts=ResourceOptions(replace_on_changes=["*"]))

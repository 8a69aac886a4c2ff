"""Changed."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("a", 2, diff="never")
testbed.Simple("all", 1, diff="always")
testbed.Simple("key", 2, diff="replaces-other")
testbed.Simple("out", 2, diff="outputs")
testbed.Simple("fresh", 2, diff="never", opts=ResourceOptions(replace_on_changes=["*"]))

"""Changed."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("made", {"a": 2, "b": 2}, opts=ResourceOptions(hide_diffs=["value.a"]))

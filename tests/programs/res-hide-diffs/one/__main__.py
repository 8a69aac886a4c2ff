"""Hidden."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("made", {"a": 1, "b": 1}, opts=ResourceOptions(hide_diffs=["value.a"]))

"""Changed."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("one", {"a": {"b": 2, "c": 1}}, opts=ResourceOptions(replace_on_changes=["value.a.b"]))
testbed.Simple("two", {"a": {"b": 1, "c": 2}}, opts=ResourceOptions(replace_on_changes=["value.a.b"]))
testbed.Simple("all", 2, opts=ResourceOptions(replace_on_changes=["*"]))
testbed.Simple("list", [{"k": 2}, {"k": 1}], opts=ResourceOptions(replace_on_changes=["value[*].k"]))
testbed.Simple("keyed", 2, diff="none-detailed", opts=ResourceOptions(replace_on_changes=["value"]))
testbed.Simple("unknown", 2, diff="unknown", opts=ResourceOptions(replace_on_changes=["value"]))

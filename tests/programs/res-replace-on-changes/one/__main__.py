"""Before."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("one", {"a": {"b": 1, "c": 1}}, opts=ResourceOptions(replace_on_changes=["value.a.b"]))
testbed.Simple("two", {"a": {"b": 1, "c": 1}}, opts=ResourceOptions(replace_on_changes=["value.a.b"]))
testbed.Simple("all", 1, opts=ResourceOptions(replace_on_changes=["*"]))
testbed.Simple("list", [{"k": 1}, {"k": 1}], opts=ResourceOptions(replace_on_changes=["value[*].k"]))
testbed.Simple("keyed", 1, diff="none-detailed", opts=ResourceOptions(replace_on_changes=["value"]))
testbed.Simple("unknown", 1, diff="unknown", opts=ResourceOptions(replace_on_changes=["value"]))

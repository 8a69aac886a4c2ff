"""All changed."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("path", 2, opts=ResourceOptions(ignore_changes=["value"]))
testbed.Simple(
    "nested", {"a": 2, "b": 2, "l": [2, 2]}, opts=ResourceOptions(ignore_changes=["value.a", "value.l[0]"])
)
testbed.Simple("every", {"a": 2, "b": {"c": 2}}, other=2, opts=ResourceOptions(ignore_changes=["*"]))
testbed.Simple("inner", {"a": {"k": 2}, "b": {"k": 2}}, opts=ResourceOptions(ignore_changes=["value.*.k"]))
testbed.Simple("absent", 2, opts=ResourceOptions(ignore_changes=["nothing", "value.deep"]))
testbed.Named("named", 2, name="n2", opts=ResourceOptions(ignore_changes=["name"]))
testbed.Simple("both", 2, opts=ResourceOptions(ignore_changes=["value"], replace_on_changes=["value"]))

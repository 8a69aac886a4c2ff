"""Before."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("path", 1, opts=ResourceOptions(ignore_changes=["value"]))
testbed.Simple(
    "nested", {"a": 1, "b": 1, "l": [1, 1]}, opts=ResourceOptions(ignore_changes=["value.a", "value.l[0]"])
)
testbed.Simple("every", {"a": 1, "b": {"c": 1}}, other=1, opts=ResourceOptions(ignore_changes=["*"]))
testbed.Simple("inner", {"a": {"k": 1}, "b": {"k": 1}}, opts=ResourceOptions(ignore_changes=["value.*.k"]))
testbed.Simple("absent", 1, opts=ResourceOptions(ignore_changes=["nothing", "value.deep"]))
testbed.Named("named", 1, name="n1", opts=ResourceOptions(ignore_changes=["name"]))
testbed.Simple("both", 1, opts=ResourceOptions(ignore_changes=["value"], replace_on_changes=["value"]))

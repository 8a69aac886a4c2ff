"""The third, after either."""

import testbed
from pulumi import Alias, ResourceOptions

a = testbed.Simple("c", opts=ResourceOptions(aliases=[Alias(name="a"), Alias(name="b")]))
testbed.Simple("child", a.id, opts=ResourceOptions(parent=a))

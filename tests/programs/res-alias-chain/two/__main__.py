"""The second."""

import testbed
from pulumi import Alias, ResourceOptions

a = testbed.Simple("b", opts=ResourceOptions(aliases=[Alias(name="a")]))
testbed.Simple("child", a.id, opts=ResourceOptions(parent=a))

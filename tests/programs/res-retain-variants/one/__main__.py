"""Made."""

import testbed
from pulumi import ResourceOptions

testbed.Named("a", name="a", deleteFirst=True, opts=ResourceOptions(retain_on_delete=True))
testbed.Named("b", name="b")
testbed.Named("c", name="c", opts=ResourceOptions(retain_on_delete=True))

"""The third not kept any more."""

import testbed
from pulumi import ResourceOptions

testbed.Named("a", name="a2", deleteFirst=True, opts=ResourceOptions(retain_on_delete=True))
testbed.Named("b", name="b2", opts=ResourceOptions(retain_on_delete=True))
testbed.Named("c", name="c")

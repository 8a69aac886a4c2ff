"""Replaced."""

import testbed
from pulumi import ResourceOptions

top = testbed.Named("top", name="b")
child = testbed.Simple("child", opts=ResourceOptions(parent=top))
testbed.Simple("grand", opts=ResourceOptions(parent=child))

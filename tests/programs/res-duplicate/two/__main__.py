"""Alike, but not the same."""

import testbed
from pulumi import ResourceOptions

testbed.Simple("made", 1)
testbed.Named("made", name="x")
testbed.Simple("made", 1, opts=ResourceOptions(parent=testbed.Group("group")))
testbed.Simple("made", 1, opts=ResourceOptions(parent=testbed.Group("heap", kind="Heap")))
